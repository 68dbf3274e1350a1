package lane

// The origin of a refused request.

import (
	"net"
	"strings"
	"testing"
	"time"
)

func TestOriginOfAHeadThatIsTooLong(t *testing.T) {
	long := "X: " + strings.Repeat("a", 9<<10) + "\r\n"
	const origin = "Origin: https://a.example\r\n"
	for head, want := range map[string]string{
		get + long + origin + "\r\n":                                              "https://a.example",
		get + long + "oRIGIN:\thttps://a.example \r\n\r\n":                        "https://a.example",
		get + origin + long + "X: b\r\n\r\n":                                      "https://a.example",
		get + strings.Repeat(long, 20) + origin + "\r\n":                          "https://a.example",
		get + strings.Repeat(long, 40) + origin + "\r\n":                          "", // beyond lingerBytes
		get + long + "X: b\r\n\r\n":                                               "",
		get + long + "\r\n" + origin:                                              "", // behind the head
		get + long + origin + origin + "\r\n":                                     "",
		get + origin + long + origin + "\r\n":                                     "",
		get + long + "X: b\n" + origin + "\r\n":                                   "",
		get + long + "X : b\r\n" + origin + "\r\n":                                "",
		get + long + "X: b\rc\r\n" + origin + "\r\n":                              "",
		get + long + "Origin: https://a.ex\x00ample\r\n\r\n":                      "",
		get + long + "Origin: " + long + "\r\n":                                   "",
		get + long + "Origin: https://a.example":                                  "", // incomplete
		"GET /" + strings.TrimSpace(long[3:]) + " HTTP/1.1\r\n" + origin + "\r\n": "https://a.example",
		"Origin: /" + long[3:] + "\r\n":                                           "", // in place of the request line
	} {
		for _, size := range []int{7, 4096, len(head)} {
			inner, asked := &pieces{in: []byte(head), size: size}, []string{}
			c := newConn(inner, newConns(&Options{MaxHeaderBytes: 8 << 10, Permission: func(origin string) string {
				asked = append(asked, origin)
				return "X-Permission: yes\r\n"
			}}))
			if n, err := c.Read(make([]byte, 64<<10)); n > 0 || err == nil {
				t.Errorf("%.40q: handed over %d bytes, %v", head, n, err)
			}
			if len(asked) != 1 || asked[0] != want {
				t.Errorf("%.40q … %.40q in pieces of %d: %q, want %q", head, head[max(0, len(head)-40):], size, asked, want)
			}
			if answer := inner.written.String(); !strings.Contains(answer, " 431 ") || !strings.Contains(answer, "\r\nX-Permission: yes\r\n") {
				t.Errorf("%q", answer)
			}
		}
	}
}

// A client that sends a long head and then nothing can't hold the connection for long.
func TestOriginIsNotWaitedForForLong(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = inner.Close() }()
	listener := Listen(inner, Options{MaxHeaderBytes: 8 << 10, Permission: func(string) string { return "" }})
	go func() {
		conn, _ := net.Dial("tcp", inner.Addr().String())
		_, _ = conn.Write([]byte(get + "X: " + strings.Repeat("a", 9<<10)))
		_, _ = conn.Read(make([]byte, 1<<10))
		_ = conn.Close()
	}()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if n, err := conn.Read(make([]byte, 4<<10)); n > 0 || err == nil {
		t.Errorf("handed over %d bytes, %v", n, err)
	}
	if took := time.Since(began); took < lingerTime || took > 4*lingerTime {
		t.Errorf("refused after %v", took)
	}
	_ = conn.Close()
}
