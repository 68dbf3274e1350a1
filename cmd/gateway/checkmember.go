package main

// This file tries a member JWT: a wrong GLORY_JWT_SECRETS shows in nothing else.

import (
	"bufio"
	"context"
	"io"
	"os"
	"strings"
	"time"

	"roomgate/internal/config"
	"roomgate/internal/proxy"
)

// stdinPatience is how long `check` waits for a JWT: a script's standard input may stay open without a word.
const stdinPatience = time.Second

// checkFromStdin is runCheck with the member JWT on the process's own input, where that is a file or a pipe.
func checkFromStdin(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	var stdin io.Reader = strings.NewReader("")
	if about, err := os.Stdin.Stat(); err == nil && about.Mode()&os.ModeCharDevice == 0 {
		stdin = os.Stdin
	}
	return runCheck(ctx, stdin, args, environ, stdout, stderr)
}

// firstLine is what stdin says within stdinPatience; "" for nothing.
func firstLine(stdin io.Reader) string {
	read := make(chan string, 1)
	go func() { // ends with its input, or with the process
		line, _ := bufio.NewReader(io.LimitReader(stdin, 64<<10)).ReadString('\n') // what can't be read isn't there
		read <- strings.TrimSpace(line)
	}()
	select {
	case line := <-read:
		return line
	case <-time.After(stdinPatience):
		return ""
	}
}

// checkMember asks how members' tokens are verified, by one of them. "" is none.
func checkMember(ctx context.Context, cfg *config.Config, token string) finding {
	f := begin("member token")
	if token == "" {
		return f.end("not tried: none came on standard input (gateway check < member-jwt)")
	}
	asked := explained{Method: "GET", Destination: proxy.Destination{Path: "/v1/info"}}
	x, err := explainMember(ctx, cfg, strings.NewReader(token), asked)
	switch {
	case err != nil:
		return f.fail(err.Error(), "")
	case x.Verdict == "admitted":
		return f.end("accepted")
	case len(cfg.GloryJWTSecrets) == 0:
		return f.fail(x.Verdict, "does Glory accept it (check_login), and is it one of this Glory's?")
	}
	return f.fail(x.Verdict, "are GLORY_JWT_SECRETS, GLORY_JWT_ALGORITHMS and GLORY_JWT_ISSUER those of Glory, and is the token not too old?")
}
