package proxy

// The memory of answers that are read whole is lent, to save allocations. Only the lane borrows it, because only there it is known when
// the answer has been written.

import "sync"

// lentText is memory for the text of one answer.
type lentText [smallAnswer]byte

// lender lends the memory of answers. It is safe for concurrent use.
type lender struct{ answers, texts sync.Pool }

// answer returns an empty answer, which is lent if the caller borrows.
func (l *lender) answer(borrows bool) *answer {
	if !borrows {
		return new(answer)
	}
	a, ok := l.answers.Get().(*answer)
	if !ok {
		a = new(answer)
	}
	a.lent = true
	return a
}

// text returns memory for the text of an answer, whose memory field keeps it.
func (l *lender) text() *lentText {
	if text, ok := l.texts.Get().(*lentText); ok {
		return text
	}
	return new(lentText)
}

// giveBack takes an answer and its text back, if they are lent. Nobody may use them after that.
func (l *lender) giveBack(a *answer) {
	if !a.lent {
		return
	}
	if a.memory != nil {
		l.texts.Put(a.memory)
	}
	*a = answer{}
	l.answers.Put(a)
}
