package ops

import (
	"fmt"
	"math"
	"net/http"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/number"
)

// words is one language of the page: its texts, and how it writes numbers and times.
type words struct {
	Lang    string
	numbers *message.Printer
	table   map[string][2]string
	column  int
}

// wordsFor chooses the language by ?lang=, then Accept-Language, then English.
func wordsFor(r *http.Request) words {
	offered := []language.Tag{language.English, language.Korean}
	_, i := language.MatchStrings(language.NewMatcher(offered), r.URL.Query().Get("lang"), r.Header.Get("Accept-Language"))
	return words{Lang: offered[i].String(), numbers: message.NewPrinter(offered[i]), table: texts(), column: i}
}

// Say returns the text of that name with args filled in. Without a text it returns the name.
func (w words) Say(key string, args ...any) string {
	text, ok := w.table[key]
	if !ok {
		return key
	}
	if len(args) == 0 {
		return text[w.column]
	}
	return fmt.Sprintf(text[w.column], args...)
}

// forPage returns the texts that the page's script sets itself, by name.
func (w words) forPage() map[string]string {
	texts := make(map[string]string)
	for _, key := range []string{
		"live", "lost", "language", "overview", "more", "change down", "change risk", "change well", "changes of state", "utc", "unit rate", "unit ms", "unit percent",
	} {
		texts[key] = w.Say(key)
	}
	return texts
}

// known is Say for names from elsewhere, which texts may lack. of is the kind of text. Without a text it returns the name.
func (w words) known(of, name string) string {
	if text, ok := w.table[of+" "+name]; ok {
		return text[w.column]
	}
	return name
}

// count formats a whole number.
func (w words) count(n float64) string {
	return w.numbers.Sprint(number.Decimal(n, number.MaxFractionDigits(0)))
}

// rate formats events per second, below 100 with a decimal.
func (w words) rate(n float64) string {
	digits := 0
	if n < 100 {
		digits = 1
	}
	return w.numbers.Sprint(number.Decimal(n, number.MaxFractionDigits(digits), number.MinFractionDigits(digits)))
}

// percent formats a share; NaN is a dash. A share above 0 never looks like 0.
func (w words) percent(share float64) string {
	digits := 0
	switch {
	case math.IsNaN(share):
		return "–"
	case share > 0 && share < .0995:
		digits = 1
	}
	if share > 0 {
		share = max(share, .001)
	}
	return w.numbers.Sprint(number.Decimal(share*100, number.MaxFractionDigits(digits))) + "%"
}

// latency formats seconds as milliseconds; NaN is a dash.
func (w words) latency(seconds float64) string {
	if math.IsNaN(seconds) {
		return "–"
	}
	digits := 0
	if seconds < .00995 { // 10 ms, not 10.0 ms
		digits = 1
	}
	return w.numbers.Sprint(number.Decimal(seconds*1000, number.MaxFractionDigits(digits), number.MinFractionDigits(digits))) + " ms"
}

// span formats a duration with its two largest units.
func (w words) span(seconds float64) string {
	d := time.Duration(max(0, seconds) * float64(time.Second)).Truncate(time.Second)
	days, hours := int(d.Hours())/24, int(d.Hours())%24
	minutes, rest := int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case days > 0:
		return w.Say("days hours", days, hours)
	case hours > 0:
		return w.Say("hours minutes", hours, minutes)
	case minutes > 0:
		return w.Say("minutes seconds", minutes, rest)
	}
	return w.Say("seconds", rest)
}
