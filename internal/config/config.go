// Package config turns the environment into one validated value. It is the only reader of settings:
// what it returns can be relied upon without further checks, and what it refuses is explained by
// the name of the variable.
//
// # From where
//
// Load takes the environment as an argument and reads no other. Every variable NAME may be replaced
// by NAME_FILE, the path of a file with the value; both at once are refused. A variable that is set
// but empty counts as absent, except where its empty tag says that nothing is a value too.
//
// # Mistakes
//
// All of them are reported by one error, a line each, so that a deployment is corrected in one go:
//
//	GLORY_URL: required; set it, or GLORY_URL_FILE to the path of a file that holds it
//	DRAIN_DELAY: "5" is not a duration; write it like 250ms, 5s or 1m30s
//
// Values of secrets are never in there, and of URLs no more than the host, since a password may be
// in the rest. For other settings the value is quoted: seeing it is how one finds the mistake.
//
// # Secrets
//
// They are secret.Values, which nothing can print by accident.
//
// # The list
//
// This file is the list of settings itself. The struct tags are the single source of names,
// defaults, bounds and of docs/settings.md:
//
//	env         the variable's name; "required" where there is no default
//	envDefault  what an absent or empty variable means
//	min, max    inclusive bounds
//	oneof       the only values admitted, for each element where the setting is a list
//	empty       what a variable that is set but empty means, where that differs from an absent one
//	doc         the words in the table
package config

import (
	"log/slog"
	"net/netip"
	"net/url"
	"time"

	"roomgate/internal/secret"
)

// Config is all settings, in the order of docs/settings.md. Load makes one; treat it as
// read-only after that, which makes it safe for concurrent use.
type Config struct {
	// ListenAddr is the host:port of the public listener. Without a host it is every interface,
	// port 0 is any free port.
	ListenAddr string `env:"LISTEN_ADDR" envDefault:":8080" doc:"public listener"`
	// AdminAddr is the host:port of the operations listener, "" when there is to be none.
	AdminAddr string `env:"ADMIN_ADDR" envDefault:"127.0.0.1:9090" empty:"off" doc:"operations listener; empty turns it off"`

	// TLSCertFile and TLSKeyFile are paths of PEM files that fit each other, or both "": serve in
	// clear. They were readable when Load looked; whoever serves re-reads them.
	TLSCertFile string `env:"TLS_CERT_FILE" doc:"serve TLS (HTTP/2 too) with this certificate chain; read again when the file changes"`
	TLSKeyFile  string `env:"TLS_KEY_FILE" doc:"its private key; both or none"`

	// TrustedProxies are the peers whose X-Forwarded-* count, masked. Empty: nobody's do.
	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES" doc:"CIDRs or addresses whose X-Forwarded-* are believed"`
	// CORSAllowedOrigins is either empty (no CORS), just "*", or origins as a browser writes them:
	// lower case, no path.
	CORSAllowedOrigins []string `env:"CORS_ALLOWED_ORIGINS" doc:"origins of browser clients; * admits all"`

	// MaxBodyBytes bounds the body of a request, MaxHeaderBytes its header lines together.
	MaxBodyBytes   int64 `env:"MAX_BODY_BYTES" envDefault:"1048576" min:"1" max:"1073741824" doc:"a longer body is answered 413"`
	MaxHeaderBytes int   `env:"MAX_HEADER_BYTES" envDefault:"16384" min:"1" max:"1048576" doc:"longer headers are answered 431"`

	// ReadHeaderTimeout, ReadTimeout and IdleTimeout are those of net/http.Server; never zero.
	ReadHeaderTimeout time.Duration `env:"READ_HEADER_TIMEOUT" envDefault:"5s" min:"1ms" max:"1h" doc:"slow clients are cut off: time to send the headers"`
	ReadTimeout       time.Duration `env:"READ_TIMEOUT" envDefault:"15s" min:"1ms" max:"1h" doc:"time to send the whole request"`
	IdleTimeout       time.Duration `env:"IDLE_TIMEOUT" envDefault:"75s" min:"1ms" max:"24h" doc:"time between two requests of a connection"`
	// MaxConnections is how many connections clients may have open at the same time.
	MaxConnections int `env:"MAX_CONNECTIONS" envDefault:"10000" min:"1" max:"1000000" doc:"more client connections wait to be accepted; HTTP/2 has at most 64 streams each"`
	// MaxInFlight is how many requests are served at the same time.
	MaxInFlight int `env:"MAX_IN_FLIGHT" envDefault:"4096" min:"1" max:"1000000" doc:"more concurrent requests are answered 503"`

	// DrainDelay is how long the gateway goes on serving after it has said that it is not ready.
	// Zero: not at all.
	DrainDelay time.Duration `env:"DRAIN_DELAY" envDefault:"5s" min:"0s" max:"1h" doc:"after SIGTERM: not ready, still serving"`
	// ShutdownTimeout begins when DrainDelay is over.
	ShutdownTimeout time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"25s" min:"1ms" max:"1h" doc:"then in-flight requests get this long"`

	// GloryURL is the base of Glory's addresses: a scheme, a host and perhaps a path without a
	// slash at its end. Never nil.
	GloryURL *url.URL `env:"GLORY_URL,required" doc:"base URL; http:// only to a private host"`
	// GloryTimeout bounds one call of Glory, a proxied one up to the answer's headers.
	GloryTimeout time.Duration `env:"GLORY_TIMEOUT" envDefault:"10s" min:"1ms" max:"1h" doc:"how long Glory may take to answer"`

	// GloryJWTSecrets are the keys that a member JWT may be signed with, decoded, each long enough
	// for every one of GloryJWTAlgorithms. Empty: JWTs are not verified here, Glory is asked.
	GloryJWTSecrets []secret.Value `env:"GLORY_JWT_SECRETS" doc:"list; turns local verification on; base64: before a base64 one (either alphabet, padded or not), needed for a secret that holds a comma or has white space at its ends"`
	// GloryJWTAlgorithms is never empty.
	GloryJWTAlgorithms []string `env:"GLORY_JWT_ALGORITHMS" envDefault:"HS384" oneof:"HS256,HS384,HS512" doc:"list of the algorithms admitted"`
	// GloryJWTIssuer is the iss that a JWT must have, "" when it may have any or none.
	GloryJWTIssuer string `env:"GLORY_JWT_ISSUER" envDefault:"com.smarth" empty:"any" doc:"the iss that a JWT must have; empty: any"`
	// GloryJWTLeeway is the slack on exp, nbf and iat. Zero: none.
	GloryJWTLeeway time.Duration `env:"GLORY_JWT_LEEWAY" envDefault:"10s" min:"0s" max:"5m" doc:"slack on a JWT's times"`
	// MemberCacheTTL is how long Glory's verdict on a JWT and a profile are kept. Zero: not at all.
	MemberCacheTTL time.Duration `env:"MEMBER_CACHE_TTL" envDefault:"60s" min:"0s" max:"24h" doc:"how long remote verdicts and profiles are kept; five times as long where Glory can't be asked"`

	// SessionSecrets seal browser sessions: the first seals, all open. Each has 32 bytes at least. Empty: there are no sessions.
	SessionSecrets []secret.Value `env:"SESSION_SECRETS" doc:"list; turns browser sessions on: the first seals their cookies, all open them; 32 bytes at least each; base64: as in GLORY_JWT_SECRETS"`
	// SessionMaxAge is the longest life of a session.
	SessionMaxAge time.Duration `env:"SESSION_MAX_AGE" envDefault:"168h" min:"1m" max:"9600h" doc:"a session ends with its member token, or after this"`

	// InterwaterURL is the base of Interwater's addresses, of the same form as GloryURL. Never nil.
	InterwaterURL *url.URL `env:"INTERWATER_URL,required" doc:"base URL; http:// only to a private host"`
	// InterwaterTimeout bounds one room request, up to the answer's headers.
	InterwaterTimeout time.Duration `env:"INTERWATER_TIMEOUT" envDefault:"10s" min:"1ms" max:"1h" doc:"how long Interwater may take to answer"`
	// InterwaterRoutes are ServeMux patterns, each with a method and a path, that can be registered
	// together and can match neither /v1/auth nor a path of Glory's or of the gateway's own. Never
	// empty.
	InterwaterRoutes []string `env:"INTERWATER_ROUTES" envDefault:"GET /v1/info,GET /v1/sessions,GET /v1/sessions/{room_name}" doc:"list of ServeMux patterns, each METHOD /path; GET means HEAD too"`
	// Licenses are the licenses in the order in which they are tried, at least one, with different
	// names. INTERWATER_ACCESS_KEY and its like make a single one, named "default".
	Licenses []License `env:"-"`
	// InterwaterRejectStatuses are from 400 to 599. Never empty.
	InterwaterRejectStatuses []int `env:"INTERWATER_REJECT_STATUSES" envDefault:"401,403" doc:"answers to a room request that mean \"token rejected\""`

	// FastLane is about both sides of a room request.
	FastLane bool `env:"FAST_LANE" envDefault:"true" doc:"answer plain room GETs on their connection, before the HTTP server reads them, over connections to Interwater without goroutines of their own; false: everything goes through net/http on both sides, and heads and framing are read as strictly"`

	// TokenFetchTimeout bounds one call of /v1/auth.
	TokenFetchTimeout time.Duration `env:"TOKEN_FETCH_TIMEOUT" envDefault:"5s" min:"1ms" max:"5m" doc:"one call of /v1/auth; the fleet lock outlives it"`
	// TokenRefusedTTL is how long no further access token is fetched in place of a fresh one that
	// was refused.
	TokenRefusedTTL time.Duration `env:"TOKEN_REFUSED_TTL" envDefault:"60s" min:"1ms" max:"24h" doc:"how long a refused generation is remembered"`

	// RedisURL is a redis:// or rediss:// URL that fits RedisMode: further nodes as addr and, for
	// sentinel, master_name are in its query. It is a secret.Value because a password may be in it.
	RedisURL secret.Value `env:"REDIS_URL,required" doc:"redis:// or rediss://; further nodes as ?addr=; a sentinel's with ?master_name=, and ?username= and ?password= of its servers where they are not the sentinel's"`
	// RedisCertFile and RedisKeyFile are what TLSCertFile and TLSKeyFile are, for the certificate shown to Redis. Both are ""
	// unless RedisURL is rediss://.
	RedisCertFile string `env:"REDIS_CERT_FILE" doc:"show this certificate chain to a Redis that asks for one; read again when the file changes"`
	RedisKeyFile  string `env:"REDIS_KEY_FILE" doc:"its private key; both or none"`
	// RedisMode is "single", "cluster" or "sentinel".
	RedisMode string `env:"REDIS_MODE" envDefault:"single" oneof:"single,cluster,sentinel" doc:"what REDIS_URL leads to"`
	// RedisKeyPrefix begins every key. It has no braces, so hash tags are the code's own to set.
	RedisKeyPrefix string `env:"REDIS_KEY_PREFIX" envDefault:"roomgate:" doc:"begins every key"`
	// RedisTimeout bounds all waiting for Redis within one request.
	RedisTimeout time.Duration `env:"REDIS_TIMEOUT" envDefault:"250ms" min:"1ms" max:"1m" doc:"most a request ever waits for Redis"`

	// LoginRateLimit, AccountRateLimit and MemberRateLimit are off when zero.
	LoginRateLimit   RateLimit `env:"LOGIN_RATE_LIMIT" envDefault:"0" doc:"login and join, per client address, fleet-wide, N/T such as 30/1m: a burst of N, refilled at N per T. Off, because behind a balancer that is not in TRUSTED_PROXIES all clients are one address"`
	AccountRateLimit RateLimit `env:"ACCOUNT_RATE_LIMIT" envDefault:"10/1m" doc:"login, per account id, fleet-wide; 0 turns it off"`
	MemberRateLimit  RateLimit `env:"MEMBER_RATE_LIMIT" envDefault:"100/1s" doc:"room routes, per member, per replica; 0 turns it off"`

	// RoomCoalesce lets identical concurrent room GETs share one call of Interwater.
	RoomCoalesce bool `env:"ROOM_COALESCE" envDefault:"true" doc:"identical concurrent room GETs under one license and role share one upstream call"`
	// RoomCacheTTL is how long a room answer is used again. Zero: never.
	RoomCacheTTL time.Duration `env:"ROOM_CACHE_TTL" envDefault:"0s" min:"0s" max:"1h" doc:"also reuse a room answer for this long"`
	// RoomRedactFields are JSON names, as they are in the document. Empty: room answers are passed
	// on as they are.
	RoomRedactFields []string `env:"ROOM_REDACT_FIELDS" doc:"JSON names (token, location) removed from room answers at any depth, for members who are not owners; an answer that can't be read is 502"`

	// APIDocs opens /openapi.json and /docs.
	APIDocs bool `env:"API_DOCS" envDefault:"true" doc:"serve /openapi.json and /docs on the public listener"`
	// ServerTiming adds Server-Timing to room answers.
	ServerTiming bool `env:"SERVER_TIMING" envDefault:"false" doc:"Server-Timing on room answers"`

	// LogLevel is the least level that is logged.
	LogLevel slog.Level `env:"LOG_LEVEL" envDefault:"info" oneof:"debug,info,warn,error" doc:"least level that is logged"`
	// LogFormat is "json" or "text".
	LogFormat string `env:"LOG_FORMAT" envDefault:"json" oneof:"json,text" doc:"form of the log"`

	// Files says which settings were read from a file, name → path: "GLORY_JWT_SECRETS" →
	// "/run/secrets/jwt". These are the ones that calling Load again can change. TLS_CERT_FILE
	// and its like, which are paths by themselves, are not among them. Never nil.
	Files map[string]string `env:"-"`
}
