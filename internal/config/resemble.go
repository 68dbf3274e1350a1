package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Unknown is a variable that is no setting but looks like one.
type Unknown struct {
	Name  string // as it is set
	Meant string // the setting that it resembles; "": it only begins like ours
}

// maxTypos is how many letters of a name may differ from a setting's. SSL_CERT_FILE, which belongs to other programs, differs
// from TLS_CERT_FILE in three.
const maxTypos = 2

var (
	// ofKubernetes matches what Kubernetes sets for a service that is named like an upstream, such as REDIS_PORT_6379_TCP_ADDR.
	ofKubernetes = regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?$`)
	oneNumber    = regexp.MustCompile(`_\d+_`)
)

// Unknowns returns the unknown variables in environ, sorted by name, with the setting that was probably meant. They are no
// mistakes: most variables belong to other programs. An empty variable counts as absent; otherwise values don't matter.
func Unknowns(environ []string) []Unknown {
	known := known()
	var found []Unknown
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		numbered, number := inTable(name)
		if value == "" || slices.Contains(known, numbered) || ofKubernetes.MatchString(name) {
			continue
		}
		meant, typos := nearest(numbered, known)
		if typos > maxTypos {
			meant = ""
		}
		if meant != "" || strings.HasPrefix(name, "GLORY_") || strings.HasPrefix(name, onePrefix) {
			found = append(found, Unknown{name, strings.Replace(meant, "_<n>_", number, 1)})
		}
	}
	slices.SortFunc(found, func(a, b Unknown) int { return strings.Compare(a.Name, b.Name) })
	return slices.Compact(found)
}

// Names returns the variables in environ that settings are read from, NAME_FILE included, sorted and without duplicates.
func Names(environ []string) []string {
	known := known()
	var found []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if numbered, _ := inTable(name); slices.Contains(known, numbered) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// known returns the names of all variables that settings are read from, with <n> for a license's number.
func known() []string {
	var names []string
	for _, s := range Settings() {
		names = append(names, s.Name, s.Name+"_FILE")
	}
	return names
}

// inTable returns a variable's name as it is in the table, with <n> for a license's number, and that number with its underscores.
func inTable(name string) (numbered, number string) {
	number = oneNumber.FindString(name)
	if number == "" {
		return name, ""
	}
	return strings.Replace(name, number, "_<n>_", 1), number
}

// nearest returns the name in known with the smallest edit distance, and that distance.
func nearest(name string, known []string) (best string, typos int) {
	typos = len(name)
	for _, k := range known {
		if d := levenshtein.ComputeDistance(name, k); d < typos {
			best, typos = k, d
		}
	}
	return best, typos
}
