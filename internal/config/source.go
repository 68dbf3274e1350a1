package config

// This file finds the text of each setting: in the variable itself, or in the file that NAME_FILE
// leads to.

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

// maxFileBytes bounds the file of a setting. Whatever is larger is not a secret but a wrong path.
const maxFileBytes = 1 << 20

// sources is what the operator set.
type sources struct {
	vars  map[string]string // value by name; an empty one only where empty has a meaning of its own
	files map[string]string // path by name, of the values that came from files
	seen  []string          // names that were set, numbered licenses last, also if the value couldn't be had
}

// readSources picks the settings out of environ and reads their files. An empty variable counts as
// absent, so that NAME= in a compose file or an unfilled template does not override a default by
// nothing.
func readSources(environ []string, p *Problems) sources {
	// Most of the environment is not ours: PATH, what Kubernetes adds for every service, OTEL_…. So
	// an unknown name is no mistake, not even one that resembles a setting.
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
		if !strings.HasSuffix(s.Name, "_FILE") { // TLS_CERT_FILE is a path already
			path = set[s.Name+"_FILE"]
		}
		if direct || path != "" {
			src.seen = append(src.seen, s.Name)
		}
		switch {
		case direct && path != "":
			// No precedence would be right: after a rotation one of the two is the old secret.
			p.addf(s.Name, "set, and %s_FILE too; keep one of them", s.Name)
		case direct:
			src.vars[s.Name] = value
		case path != "":
			src.readFile(s, path, p)
		}
	}
	return src
}

// readFile takes the value of s from the file at path.
func (src *sources) readFile(s Setting, path string, p *Problems) {
	value, err := readValue(path)
	if err == nil && value == "" && s.empty == "" {
		// Unlike an empty variable, an empty file is never meant: for GLORY_JWT_SECRETS it would
		// switch verification over to Glory without a word.
		err = errors.New("the file is empty")
	}
	if err != nil {
		p.add(s.Name+"_FILE", err)
		return
	}
	src.vars[s.Name], src.files[s.Name] = value, path
}

// readValue is the content of a file less one newline at its end. The path is in no error, because
// a frequent mistake is to put the secret itself there.
func readValue(path string) (string, error) {
	// Read, not stat and then read: a secret may be a symbolic link that is swapped meanwhile, which
	// is how Kubernetes updates them, or a pipe, which has no size.
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
	// One newline is the editor's. A second one, or a space, is left for the checks to find.
	value := strings.TrimSuffix(string(content), "\n")
	if len(value) < len(content) {
		value = strings.TrimSuffix(value, "\r")
	}
	return value, nil
}

// plain is the content less a byte order mark, which some editors put before UTF-8. It refuses UTF-16 and UTF-32: there each
// character has a zero byte or a mark of its own, and all of them would become part of the secret.
func plain(content []byte) ([]byte, error) {
	if bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) || bytes.IndexByte(content, 0) >= 0 {
		return nil, errors.New("the file is UTF-16, or no text; save it as UTF-8")
	}
	return bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")), nil
}

// cause is what went wrong with a file, without the path. It can still be told by errors.Is, as
// fs.ErrNotExist for one.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// settingsIn lists every setting under the name that it has in set: those of the table, with the
// numbered licenses for as many as set has. Names that begin like a license's but are none are
// problems; a typing error there would silently give a license the default rule, which admits
// everybody.
func settingsIn(set map[string]string, p *Problems) []Setting {
	// A name and its _FILE are one setting, so they meet in a map.
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
	// By number and then in the order of the table, since sorting by name would put 10 before 2.
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
