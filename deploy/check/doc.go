// Package check holds what is delivered beside the code to account: the Helm chart, the compose file, and, by its
// command sbom, what is in a binary. It needs neither a cluster nor Docker.
//
// It is a module of its own because of what it brings along, Kubernetes itself for one: none of that may get into the
// gateway's go.mod.
//
//	go -C deploy/check test ./...
package check
