package proxy

// This file forwards member requests to Glory, which decides by itself.

import (
	"log/slog"
	"net/http"
	"net/http/httputil"
)

// newGloryProxy passes requests on as they came, but for what belongs to this connection or to the other upstream.
func newGloryProxy(o Options, rt http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			ex := exchangeOf(r.In)
			ex.upstream = upstreamGlory
			r.Out.URL = ex.target.at(o.Glory)
			r.Out.Host = ""
			r.Out.Trailer = nil
			dropHopByHop(r.Out.Header)
			dropCredentials(r.Out.Header)
			identify(r.Out.Header, ex)
		},
		Transport:    rt,
		BufferPool:   newBufferPool(),
		ErrorHandler: fail,
		ErrorLog:     slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
}
