package proxy

// Memory for answers that are read whole is lent, to save allocations. Only the lane borrows it: its writes are done when they return.
// Over HTTP/2, a write may return while the server still reads the text.

import "sync"

// lentText is memory for one answer.
type lentText [smallAnswer]byte

// lentTexts lends memory. It is safe for concurrent use.
type lentTexts struct{ pool sync.Pool }

func (l *lentTexts) get() *lentText {
	if text, ok := l.pool.Get().(*lentText); ok {
		return text
	}
	return new(lentText)
}

// giveBack takes an answer's memory back, if it is lent. Nobody may use the answer's text after that.
func (l *lentTexts) giveBack(a *answer) {
	if a.lent != nil {
		l.pool.Put(a.lent)
		a.lent, a.text = nil, nil
	}
}
