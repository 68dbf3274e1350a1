package tokencache

// This file tests that secrets and tokens can't be printed, however they are handed to whatever prints.

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"roomgate/internal/fleet"
)

func TestSecretsAndTokensAreNeverPrinted(t *testing.T) {
	const text = "marker-of-the-secret"
	secret := NewSecret(text)
	token := &Token{value: secret, expiry: time.Now(), life: time.Hour, generation: 7}
	key := newKey(t, text, text)
	type outside struct {
		Shown  Secret
		hidden Secret
		Behind *Secret
		Any    any
		List   []Secret
		Map    map[string]Secret
		Token  *Token
		token  Token
		Key    Key
		Issued Issued
	}
	whole := outside{secret, secret, &secret, secret, []Secret{secret}, map[string]Secret{"a": secret}, token, *token, key, Issued{Value: secret}}
	for name, value := range map[string]any{
		"secret": secret, "*secret": &secret, "token": *token, "*token": token, "key": key, "issued": Issued{Value: secret},
		"list": []Secret{secret}, "map": map[string]*Token{"a": token}, "struct": whole, "*struct": &whole,
		"unavailable": &Unavailable{Class: Denied, Err: failure(Denied)}, "in an error": fmt.Errorf("%v %+v", token, secret),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "%10.3v"} {
			printed(t, name+" by "+verb, fmt.Sprintf(verb, value), text)
		}
		printed(t, name+" by Sprint", fmt.Sprint(value), text)
		if out, err := json.Marshal(value); err == nil {
			printed(t, name+" as JSON", string(out), text)
		}
		if out, err := xml.Marshal(value); err == nil {
			printed(t, name+" as XML", string(out), text)
		}
		var out bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).With("with", value).WithGroup("group").Info("message", "value", value, slog.Group("deeper", "value", value))
		}
		printed(t, name+" by slog", out.String(), text)
	}
	if secret.Reveal() != text || token.Value() != text {
		t.Error("the secret itself is lost")
	}
}

// printed fails the test if out holds the text or a good part of it.
func printed(t *testing.T, how, out, text string) {
	t.Helper()
	for _, part := range []string{text, text[:8], fmt.Sprintf("%x", text[:8]), fmt.Sprintf("%X", text[:8])} {
		if strings.Contains(out, part) || holds(out, text) {
			t.Errorf("%s: %s", how, out)
			return
		}
	}
}

func TestZeroSecretIsEmpty(t *testing.T) {
	if got := (Secret{}).Reveal(); got != "" {
		t.Errorf("reveals %q", got)
	}
	if out, err := json.Marshal(struct{ S Secret }{}); err != nil || !strings.Contains(string(out), "[redacted]") {
		t.Errorf("%s, %v", out, err) // nor does the print tell that there is none
	}
}

func TestLogHoldsNoTokenAndNoSecret(t *testing.T) {
	t.Parallel()
	const text = "marker-of-the-secret"
	var out lockedBuffer
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c := newFleet(t, 1, sharedRedis(t), Options{Log: log}, fleet.Options{Log: log})[0]
	k, iss := newKey(t, text, text), &issuer{life: time.Hour}
	token := takeFrom(t, Fetched, c, k, iss.fetch)
	unavailable(t, Rejected, c.refuse(t.Context(), c.entry(k), token))
	denied(t, Denied, c, newKey(t, text, "bad"), (&issuer{err: failure(Denied)}).fetch)
	if !strings.Contains(out.String(), "main") {
		t.Errorf("nothing was logged: %s", out.String())
	}
	if holds(out.String(), text) || holds(out.String(), token.Value()) {
		t.Errorf("the log holds a secret:\n%s", out.String())
	}
}
