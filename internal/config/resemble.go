package config

// This file finds variables that were probably meant to be settings.

import (
	"regexp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Unknown is a variable that is no setting and looks like one.
type Unknown struct {
	Name  string // as it is set
	Meant string // the setting that it resembles; "" when it only begins like ours
}

// maxTypos is how many letters may be wrong in a name that is taken for a setting's. SSL_CERT_FILE, which is somebody
// else's, is three away from TLS_CERT_FILE.
const maxTypos = 2

var (
	// ofKubernetes is what a cluster sets for a service that is named like an upstream, REDIS_PORT_6379_TCP_ADDR for one.
	ofKubernetes = regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?$`)
	oneNumber    = regexp.MustCompile(`_\d+_`)
)

// Unknowns lists them in environ, by name, with the setting that was probably meant. A mistake it is not: most of the
// environment is other programs'. Values aren't looked at, but for being empty, which is as good as absent.
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

// Names lists the variables in environ that settings are read from, those of files too: by name, each once.
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

// known are the names of all variables that settings are read from, with <n> for a license's number.
func known() []string {
	var names []string
	for _, s := range Settings() {
		names = append(names, s.Name, s.Name+"_FILE")
	}
	return names
}

// inTable is a variable's name as the table has it, with <n> for a license's number, which is returned with what is around it.
func inTable(name string) (numbered, number string) {
	number = oneNumber.FindString(name)
	if number == "" {
		return name, ""
	}
	return strings.Replace(name, number, "_<n>_", 1), number
}

// nearest is the one of known with the fewest letters to change, and how many.
func nearest(name string, known []string) (best string, typos int) {
	typos = len(name)
	for _, k := range known {
		if d := levenshtein.ComputeDistance(name, k); d < typos {
			best, typos = k, d
		}
	}
	return best, typos
}
