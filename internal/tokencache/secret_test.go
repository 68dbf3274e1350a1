package tokencache

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
	"roomgate/internal/secret"
)

func TestSecretsAndTokensAreNeverPrinted(t *testing.T) {
	const text = "marker-of-the-secret"
	value := secret.New(text)
	token := &Token{value: value, expiry: time.Now(), life: time.Hour, generation: 7}
	key := newKey(t, text, text)
	type outside struct {
		Shown  secret.Value
		hidden secret.Value
		Behind *secret.Value
		Any    any
		List   []secret.Value
		Map    map[string]secret.Value
		Token  *Token
		token  Token
		Key    Key
		Issued Issued
	}
	whole := outside{value, value, &value, value, []secret.Value{value}, map[string]secret.Value{"a": value}, token, *token, key, Issued{Value: value}}
	for name, shown := range map[string]any{
		"secret": value, "*secret": &value, "token": *token, "*token": token, "key": key, "issued": Issued{Value: value},
		"list": []secret.Value{value}, "map": map[string]*Token{"a": token}, "struct": whole, "*struct": &whole,
		"unavailable": &Unavailable{Class: Denied, Err: failure(Denied)}, "in an error": fmt.Errorf("%v %+v", token, value),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "%10.3v"} {
			printed(t, name+" by "+verb, fmt.Sprintf(verb, shown), text)
		}
		printed(t, name+" by Sprint", fmt.Sprint(shown), text)
		if out, err := json.Marshal(shown); err == nil {
			printed(t, name+" as JSON", string(out), text)
		}
		if out, err := xml.Marshal(shown); err == nil {
			printed(t, name+" as XML", string(out), text)
		}
		var out bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).With("with", shown).WithGroup("group").Info("message", "value", shown, slog.Group("deeper", "value", shown))
		}
		printed(t, name+" by slog", out.String(), text)
	}
	if value.Reveal() != text || token.Value() != text {
		t.Error("the secret itself is lost")
	}
}

// printed fails the test if out has the secret text, or a good part of it.
func printed(t *testing.T, how, out, text string) {
	t.Helper()
	for _, part := range []string{text, text[:8], fmt.Sprintf("%x", text[:8]), fmt.Sprintf("%X", text[:8])} {
		if strings.Contains(out, part) || holds(out, text) {
			t.Errorf("%s: %s", how, out)
			return
		}
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
