package main

// explain tells how the gateway would judge a request: route, member, rules and credential. It forwards nothing.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"roomgate/internal/bridge"
	"roomgate/internal/config"
	"roomgate/internal/fleet"
	"roomgate/internal/proxy"
	"roomgate/internal/tokencache"
)

// explained is what explain prints.
type explained struct {
	Method      string              `json:"method"`
	Destination proxy.Destination   `json:"destination"`
	Member      *bridge.Explanation `json:"member,omitempty"` // on room routes
}

// explainFromStdin is runExplain on the process's standard input.
func explainFromStdin(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	return runExplain(ctx, os.Stdin, args, environ, stdout, stderr)
}

// runExplain reads the member JWT from stdin, never from an argument: everybody on the machine can see arguments.
func runExplain(ctx context.Context, stdin io.Reader, args, environ []string, stdout, stderr io.Writer) error {
	flags := newFlags("explain [-json] METHOD PATH < member-jwt", stderr)
	asJSON := flags.Bool("json", false, "print JSON")
	asked, done, err := parseAround(flags, args)
	if done || err != nil {
		return err
	}
	if len(asked) != 2 {
		flags.Usage()
		return usageError("explain needs METHOD and PATH, and the member JWT on standard input")
	}
	cfg, err := loadSettings(environ)
	if err != nil {
		return err
	}
	x := explained{Method: asked[0]}
	if x.Destination, err = proxy.Explain(cfg.InterwaterRoutes, cfg.APIDocs, len(cfg.SessionSecrets) > 0, x.Method, asked[1]); err != nil {
		return err
	}
	if x.Destination.Upstream == "interwater" {
		if x.Member, err = explainMember(ctx, cfg, stdin, x); err != nil {
			return err
		}
	}
	if *asJSON {
		return printJSON(stdout, x)
	}
	return x.print(stdout)
}

// explainMember judges the member and chooses the credential as for a request. It fetches no access token.
func explainMember(ctx context.Context, cfg *config.Config, stdin io.Reader, x explained) (*bridge.Explanation, error) {
	token, err := bufio.NewReader(io.LimitReader(stdin, 64<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the member JWT: %w", err)
	}
	var authorization []string
	if token = strings.TrimSpace(token); token != "" {
		authorization = []string{"Bearer " + strings.TrimPrefix(token, "Bearer ")}
	}
	redis, err := openRedis(cfg, cfg.RedisTimeout)
	if err != nil {
		return nil, err
	}
	defer redis.Close()
	cache, err := tokencache.New(tokencache.Options{Redis: redis})
	if err != nil {
		return nil, err
	}
	defer cache.Close()
	denied := fleet.NewDenyList(redis)
	_, _ = denied.All(ctx) // if Redis is down, the token's standing shows it
	services, err := newUpstreams(cfg, nil, nil)
	if err != nil {
		return nil, err
	}
	defer services.close()
	members, err := bridge.New(bridgeOptions(cfg, services, cache, denied, nil))
	if err != nil {
		return nil, err
	}
	d := x.Destination
	explanation := members.Explain(ctx, authorization, bridge.Request{Method: x.Method, Path: d.Path, Room: d.Room}, cache)
	return &explanation, nil
}

// print writes the result for people.
func (x explained) print(w io.Writer) error {
	var text strings.Builder
	d := x.Destination
	switch {
	case d.Upstream != "":
		fmt.Fprintf(&text, "route    %s, to %s\n", d.Route, d.Upstream)
	case d.Route != "":
		fmt.Fprintf(&text, "route    %s: a page of the gateway\n", d.Route)
	default:
		fmt.Fprintf(&text, "route    none: the gateway answers %d %s\n", d.Status, http.StatusText(d.Status))
	}
	if d.Room != "" {
		fmt.Fprintf(&text, "room     %s\n", d.Room)
	}
	if m := x.Member; m != nil {
		fmt.Fprintf(&text, "member   %s", m.Verdict)
		if m.Subject != "" {
			fmt.Fprintf(&text, " (sub %s, iss %s)", m.Subject, m.Issuer)
		}
		text.WriteString("\n")
		for _, l := range m.Licenses {
			fmt.Fprintf(&text, "license  %s\n", l.Name)
			printRule(&text, "ALLOW", l.Allow)
			printRule(&text, "OWNER", l.Owner)
		}
		printCredential(&text, m)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func printRule(text *strings.Builder, name string, r bridge.RuleExplanation) {
	fmt.Fprintf(text, "  %s  %s  →  %s\n", name, r.Text, r.Value)
	for _, part := range r.Parts {
		fmt.Fprintf(text, "           %s  →  %s\n", part.Text, part.Value)
	}
}

// printCredential writes which credential would go upstream, and the state of its token.
func printCredential(text *strings.Builder, m *bridge.Explanation) {
	switch {
	case m.Denied:
		text.WriteString("result   403: on the deny list\n")
	case m.License == "" && m.Verdict == "admitted":
		text.WriteString("result   403: no license admits the member\n")
	case m.License == "":
		text.WriteString("result   refused\n")
	case m.Standing == nil:
		fmt.Fprintf(text, "result   license %s as %s; can't look up its token: %s\n", m.License, m.Role, m.Error)
	default:
		fmt.Fprintf(text, "result   license %s as %s; %s\n", m.License, m.Role, describeStanding(*m.Standing))
	}
}

func describeStanding(s tokencache.Standing) string {
	parts := []string{"no token in Redis"}
	if s.Token {
		left := time.Duration(s.ExpiresInSeconds * float64(time.Second)).Round(time.Second)
		parts[0] = "token in Redis, expires in " + left.String()
	}
	if s.Fetching {
		parts = append(parts, "a replica is fetching")
	}
	if s.Failure != "" {
		parts = append(parts, "the last fetch failed: "+s.Failure)
	}
	if s.Refused {
		parts = append(parts, "rejected by Interwater although fresh")
	}
	return strings.Join(parts, "; ")
}
