package proxy

// This file lends memory for answers that are read whole, to those whose write is over when it returns: over HTTP/2 it may return while the
// server still reads from what it was given.

import "sync"

// lentText is memory for one answer.
type lentText [smallAnswer]byte

// lentTexts is safe for concurrent use.
type lentTexts struct{ pool sync.Pool }

func (l *lentTexts) get() *lentText {
	if text, ok := l.pool.Get().(*lentText); ok {
		return text
	}
	return new(lentText)
}

// giveBack takes an answer's memory back, if it is lent. Nobody may use the text any more.
func (l *lentTexts) giveBack(a *answer) {
	if a.lent != nil {
		l.pool.Put(a.lent)
		a.lent, a.text = nil, nil
	}
}
