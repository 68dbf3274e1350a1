package main

// This file bounds what a client may hold by one HTTP/2 connection.

import "time"

const (
	// maxStreams is how many requests it may have open: with MAX_CONNECTIONS that bounds what all clients can hold.
	maxStreams = 64
	// blockedTime is how long it may take nothing of what is to be written. Streams have limits of their own, but on a
	// connection that is blocked none of them can be reset.
	blockedTime = 10 * time.Second
)
