// Package check tests what is delivered beside the code: the Helm chart and the compose file. Its command sbom lists the contents of
// a binary. It needs neither a cluster nor Docker.
//
// It is a separate module because of its dependencies, such as Kubernetes itself, which must not get into the gateway's go.mod.
//
//	go -C deploy/check test ./...
package check
