package main

// Only a member JWT shows whether GLORY_JWT_SECRETS is right.

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

// stdinPatience is how long check waits for a JWT. In a script, standard input may stay open and send nothing.
const stdinPatience = time.Second

// checkFromStdin is runCheck on the process's standard input. It reads no terminal.
func checkFromStdin(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	var stdin io.Reader = strings.NewReader("")
	if about, err := os.Stdin.Stat(); err == nil && about.Mode()&os.ModeCharDevice == 0 {
		stdin = os.Stdin
	}
	return runCheck(ctx, stdin, args, environ, stdout, stderr)
}

// firstLine returns the first line that stdin sends within stdinPatience; "" for none.
func firstLine(stdin io.Reader) string {
	read := make(chan string, 1)
	go func() { // ends with its input, or with the process
		line, _ := bufio.NewReader(io.LimitReader(stdin, 64<<10)).ReadString('\n') // an error ends the line
		read <- strings.TrimSpace(line)
	}()
	select {
	case line := <-read:
		return line
	case <-time.After(stdinPatience):
		return ""
	}
}

// checkMember verifies a member token as the gateway does. token "": there is none.
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
		return f.fail(x.Verdict, "did this Glory issue it, and does check_login accept it?")
	}
	return f.fail(x.Verdict, "do GLORY_JWT_SECRETS, GLORY_JWT_ALGORITHMS and GLORY_JWT_ISSUER match Glory's, and is the token still valid?")
}
