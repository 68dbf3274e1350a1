// Package config turns the environment into one validated value. Nothing else reads settings. Users of the value need no further
// checks. What config refuses, it explains by the name of the variable.
//
// # Source
//
// Load takes the environment as an argument and reads no other. Every variable NAME may be replaced by NAME_FILE, the path of a
// file with the value; having both is a problem. TLS_CERT_FILE and other settings that are paths have no such variant. A variable that
// is set but empty counts as absent, unless its empty tag gives the empty value a meaning.
//
// # Problems
//
// One error reports all problems, a line each, so that an operator can correct them in one go:
//
//	GLORY_URL: required; set it, or GLORY_URL_FILE to the path of a file that holds it
//	DRAIN_DELAY: "5" is not a duration; write it like 250ms, 5s or 1m30s
//
// It never contains the value of a secret, and of a URL no more than the host, since the rest may contain a password. Other values are
// quoted, because that helps to find the mistake.
//
// # Secrets
//
// Secrets are of type secret.Value, which can't be printed. Code that needs the value calls Reveal, as late as possible.
//
// # The list of settings
//
// The fields of Config and License are the settings. Their struct tags are the only source of names, defaults and bounds, and of
// docs/settings.md:
//
//	env         the variable's name; "required" if there is no default
//	envDefault  the value of an absent or empty variable
//	min, max    inclusive bounds
//	oneof       the only allowed values, for each element if the setting is a list
//	empty       what a variable that is set but empty means, if not the same as an absent one
//	doc         the text in the table
package config

import (
	"log/slog"
	"net/netip"
	"net/url"
	"time"

	"roomgate/internal/secret"
)

// Config is all settings, in the order of docs/settings.md. It comes from Load. After that it is read-only, and so safe for
// concurrent use.
type Config struct {
	// ListenAddr is the host:port of the public listener. No host means every interface; port 0 means any free port.
	ListenAddr string `env:"LISTEN_ADDR" envDefault:":8080" doc:"public listener"`
	// AdminAddr is the host:port of the operations listener; "": there is none.
	AdminAddr string `env:"ADMIN_ADDR" envDefault:"127.0.0.1:9090" empty:"off" doc:"operations listener; empty turns it off"`

	// TLSCertFile and TLSKeyFile are paths of PEM files that fit each other, or both "": serve without TLS. Load has read them once;
	// the server reads them again.
	TLSCertFile string `env:"TLS_CERT_FILE" doc:"serve TLS (HTTP/2 too) with this certificate chain; read again when the file changes"`
	TLSKeyFile  string `env:"TLS_KEY_FILE" doc:"private key of TLS_CERT_FILE; set both or none"`

	// TrustedProxies are the networks of peers whose X-Forwarded-* headers count, masked. Empty: no peer's count.
	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES" doc:"CIDRs or addresses of proxies whose X-Forwarded-* headers are trusted"`
	// CORSAllowedOrigins is empty (no CORS), just "*", or origins as browsers write them: lower case, no path.
	CORSAllowedOrigins []string `env:"CORS_ALLOWED_ORIGINS" doc:"origins of browser clients; * admits all"`

	// MaxBodyBytes bounds the body of a request, MaxHeaderBytes all its header lines together.
	MaxBodyBytes   int64 `env:"MAX_BODY_BYTES" envDefault:"1048576" min:"1" max:"1073741824" doc:"maximum request body in bytes; a longer one is answered 413"`
	MaxHeaderBytes int   `env:"MAX_HEADER_BYTES" envDefault:"16384" min:"1" max:"1048576" doc:"maximum size of all header lines in bytes; longer ones are answered 431"`

	// ReadHeaderTimeout, ReadTimeout and IdleTimeout are those of net/http.Server, and never zero.
	ReadHeaderTimeout time.Duration `env:"READ_HEADER_TIMEOUT" envDefault:"5s" min:"1ms" max:"1h" doc:"how long a client may take to send the headers"`
	ReadTimeout       time.Duration `env:"READ_TIMEOUT" envDefault:"15s" min:"1ms" max:"1h" doc:"how long a client may take to send the whole request"`
	IdleTimeout       time.Duration `env:"IDLE_TIMEOUT" envDefault:"75s" min:"1ms" max:"24h" doc:"how long a connection may be idle between two requests"`
	// MaxConnections is the maximum number of concurrent client connections.
	MaxConnections int `env:"MAX_CONNECTIONS" envDefault:"10000" min:"1" max:"1000000" doc:"maximum number of client connections; further ones wait to be accepted; an HTTP/2 connection has at most 64 streams"`
	// MaxInFlight is the maximum number of concurrent requests.
	MaxInFlight int `env:"MAX_IN_FLIGHT" envDefault:"4096" min:"1" max:"1000000" doc:"maximum number of concurrent requests; further ones are answered 503"`

	// DrainDelay is how long the gateway keeps serving after it has reported not ready. It may be zero.
	DrainDelay time.Duration `env:"DRAIN_DELAY" envDefault:"5s" min:"0s" max:"1h" doc:"after SIGTERM, how long the gateway keeps serving while it reports not ready"`
	// ShutdownTimeout begins when DrainDelay has passed.
	ShutdownTimeout time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"25s" min:"1ms" max:"1h" doc:"after DRAIN_DELAY, how long requests in flight may take to end"`

	// GloryURL is Glory's base URL: a scheme, a host and perhaps a path without a trailing slash. Never nil.
	GloryURL *url.URL `env:"GLORY_URL,required" doc:"base URL; http:// only to a private host"`
	// GloryTimeout bounds one call of Glory, up to the last byte of the answer. Time that a client takes to read the answer
	// doesn't count.
	GloryTimeout time.Duration `env:"GLORY_TIMEOUT" envDefault:"10s" min:"1ms" max:"1h" doc:"how long Glory may take to answer"`

	// GloryJWTSecrets are the keys that a member JWT may be signed with, decoded. Each is long enough for all of
	// GloryJWTAlgorithms. Empty: JWTs are not verified here; Glory is asked.
	GloryJWTSecrets []secret.Value `env:"GLORY_JWT_SECRETS" doc:"list of secrets; turns local verification on; write base64: before a secret in base64 (either alphabet, padded or not), which is needed if the secret contains a comma or begins or ends with white space"`
	// GloryJWTAlgorithms is never empty.
	GloryJWTAlgorithms []string `env:"GLORY_JWT_ALGORITHMS" envDefault:"HS384" oneof:"HS256,HS384,HS512" doc:"list of allowed algorithms"`
	// GloryJWTIssuer is the iss that a JWT must have; "": any or none.
	GloryJWTIssuer string `env:"GLORY_JWT_ISSUER" envDefault:"com.smarth" empty:"any" doc:"the iss that a JWT must have; empty: any"`
	// GloryJWTLeeway is the slack on exp, nbf and iat. It may be zero.
	GloryJWTLeeway time.Duration `env:"GLORY_JWT_LEEWAY" envDefault:"10s" min:"0s" max:"5m" doc:"leeway for a JWT's times"`
	// MemberCacheTTL is how long a profile and Glory's verdict on a JWT are kept. Zero: not at all.
	MemberCacheTTL time.Duration `env:"MEMBER_CACHE_TTL" envDefault:"60s" min:"0s" max:"24h" doc:"how long remote verdicts and profiles are kept; up to five times as long while Glory can't be asked"`

	// SessionSecrets seal browser sessions: the first seals, all open. Each has at least 32 bytes. Empty: there are no sessions.
	SessionSecrets []secret.Value `env:"SESSION_SECRETS" doc:"list of secrets; turns browser sessions on; the first seals cookies, all open them; at least 32 bytes each; base64: as in GLORY_JWT_SECRETS"`
	// SessionMaxAge is the longest life of a session.
	SessionMaxAge time.Duration `env:"SESSION_MAX_AGE" envDefault:"168h" min:"1m" max:"9600h" doc:"a session ends with its member token, or after this"`

	// InterwaterURL is Interwater's base URL, in the form of GloryURL. Never nil.
	InterwaterURL *url.URL `env:"INTERWATER_URL,required" doc:"base URL; http:// only to a private host"`
	// InterwaterTimeout bounds one room request to Interwater, as GloryTimeout does.
	InterwaterTimeout time.Duration `env:"INTERWATER_TIMEOUT" envDefault:"10s" min:"1ms" max:"1h" doc:"how long Interwater may take to answer"`
	// InterwaterRoutes are ServeMux patterns, each with a method and a path. They can be registered together. None can match
	// /v1/auth, a path of Glory's, or one that the gateway answers itself. Never empty.
	InterwaterRoutes []string `env:"INTERWATER_ROUTES" envDefault:"GET /v1/info,GET /v1/sessions,GET /v1/sessions/{room_name}" doc:"list of ServeMux patterns, each METHOD /path; GET means HEAD too"`
	// Licenses are the licenses in the order in which they are tried, at least one, with different names. The settings without a
	// number, such as INTERWATER_ACCESS_KEY, make a single one named "default".
	Licenses []License `env:"-"`
	// InterwaterRejectStatuses are from 400 to 599. Never empty.
	InterwaterRejectStatuses []int `env:"INTERWATER_REJECT_STATUSES" envDefault:"401,403" doc:"answers to a room request that mean \"token rejected\""`

	// FastLane affects both sides of a room request.
	FastLane bool `env:"FAST_LANE" envDefault:"true" doc:"answer plain room GETs on their connection, before the HTTP server reads them, over connections to Interwater without goroutines of their own; false: all requests go through net/http on both sides; heads and framing are checked just as strictly"`

	// TokenFetchTimeout bounds one call of /v1/auth.
	TokenFetchTimeout time.Duration `env:"TOKEN_FETCH_TIMEOUT" envDefault:"5s" min:"1ms" max:"5m" doc:"how long one call of /v1/auth may take; the fleet's refresh lock lasts longer"`
	// TokenRefusedTTL is how long no access token is fetched after a newly fetched one was refused.
	TokenRefusedTTL time.Duration `env:"TOKEN_REFUSED_TTL" envDefault:"60s" min:"1ms" max:"24h" doc:"how long no access token is fetched after a newly fetched one was refused"`

	// RedisURL is a redis:// or rediss:// URL that fits RedisMode. Its query holds further nodes as addr and, for sentinel,
	// master_name. It is a secret.Value because it may contain a password.
	RedisURL secret.Value `env:"REDIS_URL,required" doc:"redis:// or rediss://; further nodes as ?addr=; for sentinel ?master_name=, and ?username= and ?password= of the servers if they differ from the sentinels'"`
	// RedisCertFile and RedisKeyFile are like TLSCertFile and TLSKeyFile, for the certificate that Redis gets. Both are "" unless
	// RedisURL is rediss://.
	RedisCertFile string `env:"REDIS_CERT_FILE" doc:"certificate chain for a Redis that asks for one; read again when the file changes"`
	RedisKeyFile  string `env:"REDIS_KEY_FILE" doc:"private key of REDIS_CERT_FILE; set both or none"`
	// RedisMode is "single", "cluster" or "sentinel".
	RedisMode string `env:"REDIS_MODE" envDefault:"single" oneof:"single,cluster,sentinel" doc:"kind of Redis that REDIS_URL leads to"`
	// RedisKeyPrefix begins every key. It has no braces, so only the code sets hash tags.
	RedisKeyPrefix string `env:"REDIS_KEY_PREFIX" envDefault:"roomgate:" doc:"prefix of every key"`
	// RedisTimeout bounds the total time that one request waits for Redis.
	RedisTimeout time.Duration `env:"REDIS_TIMEOUT" envDefault:"250ms" min:"1ms" max:"1m" doc:"the longest that one request waits for Redis in all"`

	// LoginRateLimit, AccountRateLimit and MemberRateLimit are off if zero.
	LoginRateLimit   RateLimit `env:"LOGIN_RATE_LIMIT" envDefault:"0" doc:"login and join, per client address, fleet-wide, N/T such as 30/1m: a burst of N, refilled at N per T. Off by default, because behind a balancer that is not in TRUSTED_PROXIES all clients have one address"`
	AccountRateLimit RateLimit `env:"ACCOUNT_RATE_LIMIT" envDefault:"10/1m" doc:"login, per account id, fleet-wide; 0 turns it off"`
	MemberRateLimit  RateLimit `env:"MEMBER_RATE_LIMIT" envDefault:"100/1s" doc:"room routes, per member, per replica; 0 turns it off"`

	// RoomCoalesce lets identical concurrent room GETs share one call of Interwater.
	RoomCoalesce bool `env:"ROOM_COALESCE" envDefault:"true" doc:"identical concurrent room GETs under one license and role share one upstream call"`
	// RoomCacheTTL is how long a room answer is reused. Zero: never.
	RoomCacheTTL time.Duration `env:"ROOM_CACHE_TTL" envDefault:"0s" min:"0s" max:"1h" doc:"how long a room answer is reused; 0s: only by concurrent requests"`
	// RoomRedactFields are JSON names as they appear in an answer. Empty: room answers are passed on unchanged.
	RoomRedactFields []string `env:"ROOM_REDACT_FIELDS" doc:"JSON names (token, location) removed from room answers at any depth, for members who are not owners; an answer that can't be read is 502"`

	// APIDocs serves /openapi.json and /docs.
	APIDocs bool `env:"API_DOCS" envDefault:"true" doc:"serve /openapi.json and /docs on the public listener"`
	// ServerTiming adds Server-Timing to room answers.
	ServerTiming bool `env:"SERVER_TIMING" envDefault:"false" doc:"add Server-Timing to room answers"`

	// LogLevel is the lowest level that is logged.
	LogLevel slog.Level `env:"LOG_LEVEL" envDefault:"info" oneof:"debug,info,warn,error" doc:"lowest level that is logged"`
	// LogFormat is "json" or "text".
	LogFormat string `env:"LOG_FORMAT" envDefault:"json" oneof:"json,text" doc:"format of the log"`

	// Files has the path of each setting that was read from a file: "GLORY_JWT_SECRETS" → "/run/secrets/jwt". Calling Load again
	// can change only those. TLS_CERT_FILE and others that are paths by themselves are not in it. Never nil.
	Files map[string]string `env:"-"`
}
