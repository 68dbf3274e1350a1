# The gateway and nothing else: no shell, no package manager, no writable path.
#
#   docker build -t roomgate --build-arg VERSION=1.0.0 --build-arg COMMIT="$(git rev-parse HEAD)" .
#   docker run --env-file gateway.env -p 8080:8080 roomgate

# Pinned by tag: a digest has to be looked up in the registry. Whoever needs the
# same image every time appends @sha256:… here. The binary is the same bytes with
# the same Go version; .github/workflows/release.yml builds with this one, too.
# It compiles for the platform that is asked for, and runs on the one that builds.
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src

# Modules change less often than code; this layer lasts until go.sum changes.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
ARG VERSION=dev
ARG COMMIT=unknown
ARG FIPS=off
ARG TARGETOS TARGETARCH
# The flags are the Makefile's, where .ci/run tests them.
RUN GOOS="$TARGETOS" GOARCH="$TARGETARCH" make build OUT=/gateway VERSION="$VERSION" COMMIT="$COMMIT" FIPS="$FIPS"

FROM scratch
ARG VERSION=dev
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="roomgate" \
      org.opencontainers.image.description="Auth-bridging gateway in front of the Glory and Interwater APIs" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"

# For https upstreams and rediss. Time zones are not needed: all times are UTC.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /gateway /gateway

# A number, because scratch has no /etc/passwd and Kubernetes' runAsNonRoot can
# judge only numbers.
USER 65532:65532

# 9090 is the operations listener. It stays on the container's loopback until
# ADMIN_ADDR says otherwise (ADMIN_ADDR=:9090 for a scraper), because it must
# never be published. The health check follows ADMIN_ADDR.
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["/gateway", "healthcheck"]

# SIGTERM drains for DRAIN_DELAY and SHUTDOWN_TIMEOUT, 30 s together by default:
# give `docker stop -t` and terminationGracePeriodSeconds more than that.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/gateway"]
CMD ["serve"]
