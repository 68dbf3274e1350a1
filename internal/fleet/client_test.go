package fleet

// Connect in every mode: it doesn't wait, and never shows the password.

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestClientWaitsNoLongerThanItsTimeoutWhateverTheURLSays(t *testing.T) {
	const timeout = 123 * time.Millisecond
	generous := "dial_timeout=9s&read_timeout=9s&write_timeout=9s&pool_timeout=9s&max_retries=9"
	for mode, url := range map[string]string{
		"single":   "redis://user:password@127.0.0.1:1/3?" + generous,
		"cluster":  "redis://user:password@127.0.0.1:1?addr=127.0.0.1:2&" + generous,
		"sentinel": "redis://user:password@127.0.0.1:1/3?master_name=m&addr=127.0.0.1:2&" + generous,
	} {
		before := time.Now()
		client, err := Connect(Connection{Mode: mode, URL: url, Timeout: timeout})
		if err != nil {
			t.Errorf("%s: %v", mode, err)
			continue
		}
		defer client.Close()
		if waited := time.Since(before); waited > time.Second {
			t.Errorf("%s: opening took %v: it must not connect", mode, waited)
		}
		var got [4]time.Duration
		var honours bool
		var retries int
		switch c := client.(type) {
		case *redis.Client:
			o := c.Options()
			got, honours, retries = [4]time.Duration{o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout}, o.ContextTimeoutEnabled, o.MaxRetries
		case *redis.ClusterClient:
			o := c.Options()
			got, honours, retries = [4]time.Duration{o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout}, o.ContextTimeoutEnabled, o.MaxRetries
		}
		if want := [4]time.Duration{timeout, timeout, timeout, timeout}; got != want || !honours || retries > 0 {
			t.Errorf("%s: timeouts %v, honours contexts %v, %d retries", mode, got, honours, retries)
		}
	}
}

// With a sentinel there are two logins: the sentinel's and the master's. Only the master's password changes.
func TestEachConnectionLogsInAsTheURLSaysByThen(t *testing.T) {
	for _, tt := range []struct{ mode, before, after, want string }{
		{"single", "redis://u:old@h:1", "redis://u:new@h:1", "u:new"},
		{"single", "redis://:only@h:1", "", ":only"},
		{"single", "redis://h:1", "", ":"},
		{"cluster", "redis://u:old@h:1?addr=h:2", "redis://u:new@h:1?addr=h:2", "u:new"},
		{"sentinel", "redis://:both@h:1?master_name=m", "", ":both"},
		{"sentinel", "redis://s:watches@h:1?master_name=m&username=u&password=old", "redis://s:watches@h:1?master_name=m&username=u&password=new", "u:new"},
		{"sentinel", "redis://s:watches@h:1?master_name=m&password=", "", ":"},
	} {
		var current func() string
		if tt.after != "" {
			current = func() string { return tt.after }
		}
		client, err := Connect(Connection{Mode: tt.mode, URL: tt.before, Timeout: time.Second, Current: current})
		if err != nil {
			t.Errorf("%s %s: %v", tt.mode, tt.before, err)
			continue
		}
		defer client.Close()
		var login func() (user, password string)
		switch c := client.(type) {
		case *redis.Client:
			login = c.Options().CredentialsProvider
		case *redis.ClusterClient:
			login = c.Options().CredentialsProvider
		}
		if user, password := login(); user+":"+password != tt.want {
			t.Errorf("%s %s then %s: logs in as %s:%s, want %s", tt.mode, tt.before, tt.after, user, password, tt.want)
		}
	}
}

func TestEachConnectionShowsTheCertificateOfThatTime(t *testing.T) {
	shown := &tls.Certificate{}
	for mode, query := range map[string]string{"single": "", "cluster": "", "sentinel": "?master_name=m"} {
		for scheme, asked := range map[string]bool{"redis": false, "rediss": true} {
			client, err := Connect(Connection{
				Mode: mode, URL: scheme + "://h:1" + query, Timeout: time.Second, Certificate: func() *tls.Certificate { return shown },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			var config *tls.Config
			switch c := client.(type) {
			case *redis.Client:
				config = c.Options().TLSConfig
			case *redis.ClusterClient:
				config = c.Options().TLSConfig
			}
			if (config != nil) != asked {
				t.Errorf("%s, %s: TLS is %v", mode, scheme, config != nil)
			}
			if config == nil {
				continue
			}
			for range 2 {
				if got, err := config.GetClientCertificate(nil); got != shown || err != nil {
					t.Errorf("%s: %p, %v", mode, got, err)
				}
				shown = &tls.Certificate{}
			}
		}
	}
}

func TestBadRedisURLIsRefusedWithoutTellingThePassword(t *testing.T) {
	for _, mode := range []string{"single", "cluster", "sentinel"} {
		for _, url := range []string{
			"redis://:hunter2\n@host:6379", "redis://:hunter2%zz@host:6379", "redis://user:hunter2/x@host:6379",
			"redis://user:12/hunter2@host:6379", "redis://user:12?hunter2@host:6379", "hunter2://host:6379", "redis://:a@host:6379/hunter2",
			"redis://:hunter2@host:port", "redis://:a@host:6379?dial_timeout=hunter2", "redis://:a@host:6379?hunter2=1", "hunter2", "",
		} {
			client, err := Connect(Connection{Mode: mode, URL: url, Timeout: time.Second})
			if err == nil {
				_ = client.Close() // what is an error in one mode may be right in another
				continue
			}
			for text := err; text != nil; text = errors.Unwrap(text) {
				if strings.Contains(text.Error(), "hunter2") || strings.Contains(text.Error(), "zz") {
					t.Errorf("%s, %q: %v", mode, url, err)
				}
			}
		}
	}
	if _, err := Connect(Connection{Mode: "triple", URL: "redis://host:6379", Timeout: time.Second}); err == nil {
		t.Error("an unknown mode was taken")
	}
}
