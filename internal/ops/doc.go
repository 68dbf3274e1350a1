// Package ops is what an operator touches: the log, the metrics registry, and the operations listener with liveness,
// readiness, status and profiles. It knows nothing of the gateway's inside; the program hands it values and functions.
package ops
