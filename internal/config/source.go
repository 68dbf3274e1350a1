package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// maxFileBytes bounds the file of a setting. A larger file is a wrong path, not a secret.
const maxFileBytes = 1 << 20

// sources holds what the operator set.
type sources struct {
	vars  map[string]string // name → value; it is empty only if empty has a meaning of its own
	files map[string]string // name → path, of values that came from files
	seen  []string          // names that were set, even if the file can't be read; numbered licenses last
}

// readSources finds the settings in environ and reads their files. An empty variable counts as absent, so that NAME= in a compose
// file or an unfilled template doesn't override a default with nothing.
func readSources(environ []string, p *Problems) sources {
	// Most variables aren't ours: PATH, those that Kubernetes adds for every service, OTEL_…. So an unknown name is no problem,
	// not even one that resembles a setting.
	set := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		set[name] = value
	}
	src := sources{vars: map[string]string{}, files: map[string]string{}}
	for _, s := range settingsIn(set, p) {
		value, direct := set[s.Name]
		direct = direct && (value != "" || s.empty != "")
		path := ""
		if !strings.HasSuffix(s.Name, "_FILE") { // TLS_CERT_FILE has no TLS_CERT_FILE_FILE
			path = set[s.Name+"_FILE"]
		}
		if direct || path != "" {
			src.seen = append(src.seen, s.Name)
		}
		switch {
		case direct && path != "":
			// Either precedence could be wrong: after a rotation, one of the two is the old secret.
			p.addf(s.Name, "set together with %s_FILE; keep one of them", s.Name)
		case direct:
			src.vars[s.Name] = value
		case path != "":
			src.readFile(s, path, p)
		}
	}
	return src
}

// readFile reads the value of s from the file at path.
func (src *sources) readFile(s Setting, path string, p *Problems) {
	value, err := readValue(path)
	if err == nil && value == "" && s.empty == "" {
		// Unlike an empty variable, an empty file is never meant: an empty one for GLORY_JWT_SECRETS would silently replace local
		// verification by calls to Glory.
		err = errors.New("the file is empty")
	}
	if err != nil {
		p.add(s.Name+"_FILE", err)
		return
	}
	src.vars[s.Name], src.files[s.Name] = value, path
}

// readValue returns the content of a file less one trailing newline. No error contains the path, because putting the secret
// itself there is a frequent mistake.
func readValue(path string) (string, error) {
	// Read at once instead of asking for the size first: Kubernetes updates a secret by swapping a symbolic link, and a pipe has
	// no size.
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("can't read the file: %w", cause(err))
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return "", fmt.Errorf("can't read the file: %w", cause(err))
	}
	if len(content) > maxFileBytes {
		return "", errors.New("the file is larger than 1 MiB; is the path right?")
	}
	content, err = plain(content)
	if err != nil {
		return "", err
	}
	// One newline comes from the editor. A second one, or a space, is left for the checks to find.
	value := strings.TrimSuffix(string(content), "\n")
	if len(value) < len(content) {
		value = strings.TrimSuffix(value, "\r")
	}
	return value, nil
}

// plain returns the content without a byte order mark, which some editors put before UTF-8. It refuses UTF-16 and UTF-32: their
// zero bytes and byte order marks would become part of the secret.
func plain(content []byte) ([]byte, error) {
	if bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) || bytes.IndexByte(content, 0) >= 0 {
		return nil, errors.New("the file is UTF-16, or no text; save it as UTF-8")
	}
	return bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")), nil
}

// cause returns an error of reading a file without the path. errors.Is still finds, for example, fs.ErrNotExist.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// settingsIn returns all settings: those of the table, and the numbered licenses' that are in set. Names that begin like a
// license's but are none are problems: a typo in a rule's name would silently give that license the default rule, which admits
// everybody.
func settingsIn(set map[string]string, p *Problems) []Setting {
	// NAME and NAME_FILE are one setting, so they have the same key.
	type key struct {
		n       int
		setting string
	}
	numbered := map[key]bool{}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if !strings.HasPrefix(name, licensePrefix) || set[name] == "" {
			continue
		}
		n, setting, err := splitLicenseName(strings.TrimSuffix(name, "_FILE"))
		if err != nil {
			p.add(name, err)
			continue
		}
		numbered[key{n, setting}] = true
	}
	// By number, then in the order of the table. Sorting by name would put 10 before 2.
	list := slices.DeleteFunc(Settings(), func(s Setting) bool { return strings.Contains(s.Name, "<n>") })
	order := licenseSettings()
	keys := slices.SortedFunc(maps.Keys(numbered), func(a, b key) int {
		if a.n != b.n {
			return a.n - b.n
		}
		return slices.Index(order, a.setting) - slices.Index(order, b.setting)
	})
	for _, k := range keys {
		list = append(list, Setting{Name: fmt.Sprintf("%s%d_%s", licensePrefix, k.n, k.setting)})
	}
	return list
}
