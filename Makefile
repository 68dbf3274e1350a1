# Short names for what is done often. Nothing here is needed: the plain go
# commands of README.md work without make.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
OUT     ?= gateway
FIPS    ?= off
DIST    ?= dist

# Pinned here alone, run from the module cache: no tool has to be installed.
LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VULN := go run golang.org/x/vuln/cmd/govulncheck@v1.9.0
K6   := go run go.k6.io/k6@v1.8.1

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' Makefile

# The image, the release and .ci/run build through this target, so that what is
# tested is what is shipped: static, and the same bytes wherever it is built.
# Hence no paths of the machine (-trimpath), no build id, and no stamp of the
# working copy: a clone without tags would give another one. Without grpcnotrace, gRPC's debug
# pages come along, and with them all that templates could call: 27 MB become 37.
build: ## build the static binary (OUT, VERSION, COMMIT; GOOS, GOARCH; FIPS=v1.0.0 with Go's FIPS 140-3 module)
	CGO_ENABLED=0 GOFLAGS= GOAMD64=v1 GOARM64=v8.0 GOFIPS140=$(FIPS) go build -trimpath -buildvcs=false -tags grpcnotrace \
	  -ldflags '-s -w -buildid= -X main.version=$(VERSION) -X main.commit=$(COMMIT)' \
	  -o '$(OUT)' ./cmd/gateway

release: ## build what the release workflow publishes but for the images into DIST (PLATFORMS, VERSION)
	deploy/release/build '$(DIST)'

release-check: ## build the commit twice, in two places, and compare (PLATFORMS)
	deploy/release/check

test: ## run the tests that a change needs: a representative of each kind
	go test ./...

test-all: ## run every test: needs redis-server, haproxy, nginx, chromium, promtool and h2spec
	ROOMGATE_TESTS=all go test -timeout 20m ./...

test-race: ## run every test with the race detector
	ROOMGATE_TESTS=all go test -race -parallel 4 -timeout 20m ./...

test-nolane: ## run the tests of requests with FAST_LANE=false
	go test ./internal/proxy ./cmd/gateway -fast-lane=false

lint: ## run the linter with .golangci.yml
	$(LINT) run
	cd deploy/check && $(LINT) run -c ../../.golangci.yml

fmt: ## format the Go code
	gofmt -w cmd internal deploy loadtest

ci: ## run what CI runs (Debian; as root where a package is missing)
	.ci/run

sandbox: ## run the gateway with everything embedded
	go run ./cmd/gateway sandbox

run-local: ## run the gateway with configs/local.env
	set -a && . ./configs/local.env && exec go run ./cmd/gateway serve

fleet: ## run three gateways behind HAProxy, with everything else they need
	go run ./loadtest/fleet

RUN ?= steady
k6: ## run a load test (RUN=smoke, …) against a running sandbox or fleet (loadtest/README.md)
	$(K6) run --no-usage-report loadtest/$(RUN).js

ADMIN    ?= http://127.0.0.1:9090
CHROMIUM ?= chromium
SHOOT = $(CHROMIUM) --headless --hide-scrollbars --timeout=4000
pictures: ## take the pictures of a status page for docs/ (ADMIN, under load for a while; root wants CHROMIUM='chromium --no-sandbox')
	$(SHOOT) --window-size=1200,1290 --screenshot=docs/status-light.png '$(ADMIN)/?lang=en'
	$(SHOOT) --window-size=1200,1290 --force-dark-mode --screenshot=docs/status-dark.png '$(ADMIN)/?lang=en'
	$(SHOOT) --window-size=320,1400 --screenshot=docs/status-narrow.png '$(ADMIN)/?lang=ko'

# Not in .ci/run, which has no internet but the module proxy: govulncheck asks
# vuln.go.dev.
vuln: ## look for known vulnerabilities in what the code calls
	$(VULN) ./...

clean: ## remove what build and release left
	rm -rf '$(OUT)' '$(DIST)'

.PHONY: help build release release-check test test-all test-race test-nolane lint fmt ci sandbox run-local fleet k6 pictures vuln clean
