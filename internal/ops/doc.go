// Package ops is for operators: the log, the metrics registry, tracing, and the operations listener with liveness, readiness,
// status, the status page and profiles. It knows nothing of the gateway's inside; the program passes it values and functions.
package ops
