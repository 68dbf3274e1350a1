package proxy

import (
	"strings"
	"testing"
)

func TestTheTableKnowsItsQuestionHeaders(t *testing.T) {
	n := 0
	for _, rule := range roomHeaders {
		if rule.question {
			n++
		}
	}
	if n != questionHeaders {
		t.Errorf("%d headers of the table are part of the question, questionHeaders says %d", n, questionHeaders)
	}
}

func TestWhatIsForEverybodyIsInTheHeader(t *testing.T) {
	for header, want := range map[string]bool{
		"": true, "Cache-Control: private": true, "Cache-Control: private, No-Store": false, "Set-Cookie: a=b": true,
		"Vary: Accept, Accept-Encoding, Origin": true, "Vary: accept-language,X-Forwarded-Host": true, "Vary: Accept, *": false,
		"Vary: User-Agent": false, "Vary: X-Forwarded-For": false, "Vary: Cookie": false,
	} {
		name, value, _ := strings.Cut(header, ": ")
		if got := mayShare(fields{{Name: name, Value: value}}); got != want {
			t.Errorf("%s: %v", header, got)
		}
	}
}
