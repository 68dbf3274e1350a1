package config

// This file reads the licenses: one from INTERWATER_ACCESS_KEY and its like, or several from
// INTERWATER_LICENSE_<n>_….

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"roomgate/internal/secret"
)

// The settings of a license are named by one of these and the env tags of License.
const (
	onePrefix     = "INTERWATER_"
	licensePrefix = "INTERWATER_LICENSE_"
)

// License is one contract with Interwater: the keys that access tokens are got with, and the rules
// that say for whom.
type License struct {
	// Name tells licenses apart in logs and metrics; [A-Za-z0-9._-]{1,64}, different for each,
	// "default" if there is just the one without a name.
	Name string `env:"NAME,required" doc:"name in logs, metrics and on the status page"`
	// AccessKey and SecretKey are what Interwater is asked for access tokens with. Neither is ever
	// empty.
	AccessKey secret.Value `env:"ACCESS_KEY,required" doc:"access key"`
	SecretKey secret.Value `env:"SECRET_KEY,required" doc:"secret key"`
	// TokenMinutes is how long an access token is to live, in minutes: the wire's expires.
	TokenMinutes int `env:"TOKEN_MINUTES" envDefault:"60" min:"1" max:"5256000" doc:"expires asked for, in minutes"`
	// Allow and Owner are CEL rules, as text: they are compiled by the package that evaluates them.
	Allow string `env:"ALLOW" envDefault:"true" doc:"CEL rule: may this member use it"`
	Owner string `env:"OWNER" envDefault:"false" doc:"CEL rule: with an owner's access token"`

	prefix string // of its settings' names, for Summary
}

// Setting is the variable of one of the license's settings, such as ALLOW, for messages about it.
func (l License) Setting(name string) string { return l.prefix + name }

// parseLicenses reads the licenses that src names. The single form and the numbered one exclude
// each other, because an operator who has both will be wrong about which one is used.
func parseLicenses(src sources, p *Problems) []License {
	// What was set counts, not what could be read: a secret's missing file must not make it look as
	// if there were no license.
	var one, many []string
	for _, name := range src.seen {
		switch {
		case strings.HasPrefix(name, licensePrefix):
			many = append(many, name)
		case slices.Contains(oneNames(), name):
			one = append(one, name)
		}
	}
	switch {
	case len(many) > 0:
		for _, name := range one {
			p.addf(name, "set beside %s; keep the one license or the numbered ones", many[0])
		}
		return parseNumbered(many, src, p)
	case len(one) > 0:
		src.vars[onePrefix+"NAME"] = "default" // not a setting, so nothing of the operator's is lost
		return []License{parseLicense(onePrefix, src, p)}
	case p.hasPrefix(licensePrefix): // numbered ones were meant, but none is named rightly
		return nil
	}
	p.addf(onePrefix+"ACCESS_KEY", "no license is set; set it with INTERWATER_SECRET_KEY, or several licenses as "+
		"INTERWATER_LICENSE_0_NAME, INTERWATER_LICENSE_0_ACCESS_KEY, INTERWATER_LICENSE_0_SECRET_KEY, INTERWATER_LICENSE_1_NAME, …")
	return nil
}

// parseNumbered reads the licenses that names belong to; names are all of a right form. Their order
// is the order in which the licenses are tried, so a gap is refused rather than closed: it is the
// place of a license that somebody took out in one place and left in another, or of a number with a
// typing error.
func parseNumbered(names []string, src sources, p *Problems) []License {
	first := map[int]string{} // number → the first of names that has it
	for _, name := range names {
		n, _, _ := splitLicenseName(name)
		if _, ok := first[n]; !ok {
			first[n] = name
		}
	}
	var licenses []License
	// Two licenses of one name could not be told apart in a log or a metric.
	owner := map[string]string{} // license name → prefix of the license that has it
	for n := 0; len(first) > 0; n++ {
		if _, ok := first[n]; !ok {
			name := first[slices.Min(slices.Collect(maps.Keys(first)))]
			p.addf(name, "there is no license %d; number the licenses 0, 1, 2, … without a gap", n)
			return nil
		}
		delete(first, n)
		l := parseLicense(fmt.Sprintf("%s%d_", licensePrefix, n), src, p)
		if other, ok := owner[l.Name]; ok && l.Name != "" {
			p.addf(l.prefix+"NAME", "%q is the name of %sNAME too; give each license its own", l.Name, other)
		}
		owner[l.Name] = l.prefix
		licenses = append(licenses, l)
	}
	return licenses
}

// parseLicense reads the one license whose settings begin with prefix.
//
// The rules stay text, and a rule that does not compile is found by whoever compiles it.
func parseLicense(prefix string, src sources, p *Problems) License {
	l := License{prefix: prefix}
	l.set(src.vars, p)
	checkFields(&l, prefix, src.vars, p)
	if l.Name != "" && !isLicenseName(l.Name) {
		p.addf(prefix+"NAME", "%q is not a license name; use 1 to 64 of A-Z a-z 0-9 . _ -", l.Name)
	}
	return l
}

// set sets the fields from vars. The parser of the other settings reads the process's whole environment at each call: with
// thousands of licenses that took many seconds.
func (l *License) set(vars map[string]string, p *Problems) {
	v := reflect.ValueOf(l).Elem()
	for name, f := range fieldsOf(v.Type(), l.prefix) {
		text, there := vars[name]
		if _, required := strings.CutSuffix(f.Tag.Get("env"), ",required"); required && !there {
			p.missing(name)
		}
		if !there {
			text = f.Tag.Get("envDefault")
		}
		switch field := v.FieldByIndex(f.Index).Addr().Interface().(type) {
		case *string:
			*field = text
		case *secret.Value:
			*field = secret.New(text)
		case *int:
			n, err := parseWhole[int](text)
			if *field = n; err != nil {
				p.add(name, err)
			}
		}
	}
}

// isLicenseName checks License.Name.
func isLicenseName(name string) bool {
	return len(name) <= 64 && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}

// splitLicenseName takes INTERWATER_LICENSE_<n>_<setting> apart. The error says what the name
// should have been.
func splitLicenseName(name string) (n int, setting string, err error) {
	number, setting, _ := strings.Cut(strings.TrimPrefix(name, licensePrefix), "_")
	// Back to text and compared: 01 and +1 are numbers too, and would be a second license 1.
	n, err = strconv.Atoi(number)
	if err != nil || strconv.Itoa(n) != number || n < 0 {
		return 0, "", fmt.Errorf("%q is not a license number; write 0, 1, 2, … without leading zeros", number)
	}
	if !slices.Contains(licenseSettings(), setting) {
		return 0, "", errors.New("unknown; a license has _" + strings.Join(licenseSettings(), ", _") + ", each also with _FILE")
	}
	return n, setting, nil
}

// licenseSettings are the names of a license's settings without any prefix: NAME, ACCESS_KEY, ….
func licenseSettings() []string {
	var names []string
	for name := range fieldsOf(reflect.TypeFor[License](), "") {
		names = append(names, name)
	}
	return names
}

// oneNames are the settings of the one license: INTERWATER_ACCESS_KEY and so on. It has no NAME,
// because INTERWATER_NAME would read like the name of something else.
func oneNames() []string {
	var names []string
	for _, setting := range licenseSettings()[1:] {
		names = append(names, onePrefix+setting)
	}
	return names
}
