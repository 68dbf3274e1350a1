package main

// HTTP by the fleet itself: single requests, the faults and counts of the Interwater stand-in, and members.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"roomgate/internal/sandbox"
)

// ask sends one request and reads its whole answer. token and body may be "".
func ask(ctx context.Context, c *http.Client, method, url, token, body string) (status int, answer []byte, err error) {
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// control is the base URL of the Interwater stand-in.
type control struct{ url string }

// setFaults replaces the faults.
func (c control) setFaults(ctx context.Context, faults ...sandbox.Fault) error {
	list, err := json.Marshal(append([]sandbox.Fault{}, faults...))
	if err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	status, answer, err := ask(ctx, http.DefaultClient, http.MethodPut, c.url+"/_sandbox/faults", "", string(list))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", status, answer)
	}
	if err != nil {
		return fmt.Errorf("set faults: %w", err)
	}
	return nil
}

// authCalls returns how often v1/auth was called since the start, including calls that failed.
func (c control) authCalls(ctx context.Context) (int, error) {
	var stats struct {
		AuthCalls int `json:"auth_calls"`
	}
	_, answer, err := ask(ctx, http.DefaultClient, http.MethodGet, c.url+"/_sandbox/stats", "", "")
	if err == nil {
		err = json.Unmarshal(answer, &stats)
	}
	if err != nil {
		return 0, fmt.Errorf("the stand-in's counts: %w", err)
	}
	return stats.AuthCalls, nil
}

// member is somebody who has joined and logged in.
type member struct {
	login string // the body of a login
	token string
}

// join makes n members through the balancer, as an app does.
func (f *fleet) join(ctx context.Context, n int) ([]member, error) {
	run := strconv.FormatInt(time.Now().UnixMilli(), 36)
	list := make([]member, n)
	for i := range list {
		id := fmt.Sprintf("fleet-%s-%d", run, i)
		list[i].login = fmt.Sprintf(`{"id":%q,"password":"pw"}`, id)
		body := fmt.Sprintf(`{"id":%q,"password":"pw","name":"홍길동","nickname":"n","email":"%s@example.com"}`, id, id)
		if err := f.post(ctx, "/public-api/v1/join", body, nil); err != nil {
			return nil, err
		}
		var answer struct {
			Data struct {
				Token string `json:"token"`
			} `json:"data"`
		}
		if err := f.post(ctx, "/public-api/v1/login", list[i].login, &answer); err != nil {
			return nil, err
		}
		list[i].token = answer.Data.Token
	}
	return list, nil
}

// post sends a body through the balancer and reads the answer into to, unless that is nil.
func (f *fleet) post(ctx context.Context, path, body string, to any) error {
	status, answer, err := ask(ctx, http.DefaultClient, http.MethodPost, "http://"+f.addr(portPlain)+path, "", body)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", status, answer)
	}
	if err == nil && to != nil {
		err = json.Unmarshal(answer, to)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
