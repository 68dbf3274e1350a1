package config

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomgate/internal/sandbox"
	"roomgate/internal/secret"
)

// newPair writes a certificate and its key, name.crt and name.key.
func newPair(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	made, err := sandbox.SelfSigned(-time.Hour, time.Hour, name)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	for path, text := range map[string][]byte{certFile: made.Cert, keyFile: made.Key} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestPairsAreNamesOfTheirOwn(t *testing.T) {
	certFile, keyFile := newPair(t, t.TempDir(), "a")
	c := load(t, "REDIS_URL=rediss://r:6379", "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile, "TLS_CERT_FILE_FILE=/nowhere",
		"REDIS_CERT_FILE="+certFile, "REDIS_KEY_FILE="+keyFile)
	if c.TLSCertFile != certFile || c.TLSKeyFile != keyFile || c.RedisCertFile != certFile || c.RedisKeyFile != keyFile || len(c.Files) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestOnlyTheLoginOfRedisMayChange(t *testing.T) {
	const elsewhere, sentinel = "more than user and password", "redis://watch:w@h:1/2?master_name=m&username=u&password=old"
	for _, tt := range []struct{ mode, before, after, want string }{
		{"single", "rediss://u:old@h:1/2", "rediss://v:new@h:1/2", ""},
		{"single", "redis://h:1", "redis://:new@h:1", ""},
		{"single", "redis://:old@h:1", "redis://:old@g:1", elsewhere},
		{"single", "redis://:old@h:1", "redis://:old@h:2", elsewhere},
		{"single", "rediss://:old@h:1", "redis://:old@h:1", elsewhere},
		{"single", "redis://:old@h:1", "redis://:new@h:1/3", elsewhere},
		{"single", "redis://:old@h:1?conn_max_lifetime=1m", "redis://:new@h:1", elsewhere},
		{"single", "redis://:old@h:1", "", "not a Redis URL"},
		{"single", "redis://:old@h:1", "MARKER", "not a Redis URL"},
		{"single", "redis://:old@h:1", "redis://:MARKER#@h:1", "not a Redis URL"},
		{"cluster", "redis://:old@h:1?addr=g:2", "redis://:new@h:1?addr=g:2", ""},
		{"cluster", "redis://:old@h:1?addr=g:2", "redis://:new@h:1?addr=g:3", elsewhere},
		{"sentinel", sentinel, strings.Replace(sentinel, "u&password=old", "v&password=new", 1), ""},
		{"sentinel", sentinel, strings.Replace(sentinel, "watch:w", "watch:new", 1), elsewhere}, // the client can't change that login
		{"sentinel", "redis://u:old@h:1?master_name=m", "redis://u:new@h:1?master_name=m", ""},
		{"sentinel", sentinel, strings.Replace(sentinel, "=m", "=n", 1), elsewhere},
	} {
		path := filepath.Join(t.TempDir(), "url")
		write := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(tt.before)
		c := load(t, "REDIS_MODE="+tt.mode, "REDIS_URL=", "REDIS_URL_FILE="+path)
		if now, err := c.RedisURLNow(); err != nil || now.Reveal() != tt.before {
			t.Errorf("unchanged: %v", err)
		}
		write(tt.after)
		now, err := c.RedisURLNow()
		switch {
		case tt.want == "" && (err != nil || now.Reveal() != tt.after):
			t.Errorf("%s then %s: %v", tt.before, tt.after, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "MARKER")):
			t.Errorf("%s then %s: %v, want %s", tt.before, tt.after, err, tt.want)
		}
	}
}

// Reading the pipe again would block forever.
func TestARedisURLThatCannotBeReadAgainStays(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", pipe} {
		c := &Config{RedisURL: secret.New("redis://h:1"), RedisMode: "single", Files: map[string]string{"REDIS_URL": path}}
		if now, err := c.RedisURLNow(); err != nil || now.Reveal() != "redis://h:1" {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestRedisAloneIsRead(t *testing.T) {
	c, err := Redis([]string{"REDIS_URL=redis://r:6379", "REDIS_TIMEOUT=1s", "REDIS_KEY_PREFIX=x:", "GLORY_URL=nonsense", "DRAIN_DELAY=soon"})
	if err != nil || c.RedisURL.Reveal() != "redis://r:6379" || c.RedisTimeout != time.Second || c.RedisKeyPrefix != "x:" || c.RedisMode != "single" {
		t.Errorf("%+v, %v", c, err)
	}
	_, err = Redis([]string{"REDIS_TIMEOUT=soon", "REDIS_MODE=twin", "GLORY_URL=nonsense"})
	if err == nil || strings.Count(err.Error(), "\n") != 2 || !strings.Contains(err.Error(), "REDIS_URL: required") || strings.Contains(err.Error(), "GLORY") {
		t.Errorf("%v", err)
	}
	if _, err := Redis([]string{"REDIS_URL=http://r:6379"}); err == nil || !strings.Contains(err.Error(), "not a Redis URL") {
		t.Errorf("%v", err)
	}
}
