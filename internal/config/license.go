package config

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

// Prefixes of a license's settings. The env tags of License follow them.
const (
	onePrefix     = "INTERWATER_"
	licensePrefix = "INTERWATER_LICENSE_"
)

// License is one contract with Interwater: the keys that buy access tokens, and the rules for whom.
type License struct {
	// Name identifies the license in logs and metrics: [A-Za-z0-9._-]{1,64}, different for each, "default" for a single license
	// without a number.
	Name string `env:"NAME,required" doc:"name in logs, metrics and on the status page"`
	// AccessKey and SecretKey are sent to Interwater to fetch access tokens. Neither is ever empty.
	AccessKey secret.Value `env:"ACCESS_KEY,required" doc:"access key"`
	SecretKey secret.Value `env:"SECRET_KEY,required" doc:"secret key"`
	// TokenMinutes is the lifetime to ask for, in minutes: expires in Interwater's API.
	TokenMinutes int `env:"TOKEN_MINUTES" envDefault:"60" min:"1" max:"5256000" doc:"lifetime of an access token to ask for, in minutes"`
	// Allow and Owner are CEL rules as text. The package that evaluates them compiles them.
	Allow string `env:"ALLOW" envDefault:"true" doc:"CEL rule: may this member use the license"`
	Owner string `env:"OWNER" envDefault:"false" doc:"CEL rule: does this member get an owner's access token"`

	prefix string // of its settings' names
}

// Setting returns the variable of one of the license's settings, such as ALLOW, for use in messages.
func (l License) Setting(name string) string { return l.prefix + name }

// parseLicenses reads either the single license or the numbered ones. Having both is a problem, because the operator could be
// wrong about which is used.
func parseLicenses(src sources, p *Problems) []License {
	// Look at what was set, not at what could be read: if a secret's file is missing, the license still exists.
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
			p.addf(name, "set together with %s; keep either the one license or the numbered ones", many[0])
		}
		return parseNumbered(many, src, p)
	case len(one) > 0:
		src.vars[onePrefix+"NAME"] = "default" // no such setting exists, so this overwrites nothing
		return []License{parseLicense(onePrefix, src, p)}
	case p.hasPrefix(licensePrefix): // numbered licenses were meant, but all names are wrong
		return nil
	}
	p.addf(onePrefix+"ACCESS_KEY", "no license is set; set it with INTERWATER_SECRET_KEY, or several licenses as "+
		"INTERWATER_LICENSE_0_NAME, INTERWATER_LICENSE_0_ACCESS_KEY, INTERWATER_LICENSE_0_SECRET_KEY, INTERWATER_LICENSE_1_NAME, …")
	return nil
}

// parseNumbered reads the licenses that names belong to. All names have a valid form. Licenses are tried in the order of their
// numbers. A gap is a problem rather than skipped: a license was removed in one place only, or a number has a typo.
func parseNumbered(names []string, src sources, p *Problems) []License {
	first := map[int]string{} // number → first name with that number
	for _, name := range names {
		n, _, _ := splitLicenseName(name)
		if _, ok := first[n]; !ok {
			first[n] = name
		}
	}
	var licenses []License
	// Licenses with the same name can't be told apart in logs and metrics.
	owner := map[string]string{} // license name → prefix of that license's settings
	for n := 0; len(first) > 0; n++ {
		if _, ok := first[n]; !ok {
			name := first[slices.Min(slices.Collect(maps.Keys(first)))]
			p.addf(name, "there is no license %d; number the licenses 0, 1, 2, … without a gap", n)
			return nil
		}
		delete(first, n)
		l := parseLicense(fmt.Sprintf("%s%d_", licensePrefix, n), src, p)
		if other, ok := owner[l.Name]; ok && l.Name != "" {
			p.addf(l.prefix+"NAME", "%q is also the value of %sNAME; give each license its own name", l.Name, other)
		}
		owner[l.Name] = l.prefix
		licenses = append(licenses, l)
	}
	return licenses
}

// parseLicense reads the license whose settings begin with prefix. It doesn't check that the rules compile.
func parseLicense(prefix string, src sources, p *Problems) License {
	l := License{prefix: prefix}
	l.set(src.vars, p)
	checkFields(&l, prefix, src.vars, p)
	if l.Name != "" && !isLicenseName(l.Name) {
		p.addf(prefix+"NAME", "%q is not a license name; use 1 to 64 of A-Z a-z 0-9 . _ -", l.Name)
	}
	return l
}

// set sets the fields from vars. It doesn't use package env, which reads the whole environment on each call: with thousands of
// licenses that took many seconds.
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

// isLicenseName reports whether name is a valid License.Name. It doesn't refuse "".
func isLicenseName(name string) bool {
	return len(name) <= 64 && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}

// splitLicenseName splits INTERWATER_LICENSE_<n>_<setting>. The error says what the name should have been.
func splitLicenseName(name string) (n int, setting string, err error) {
	number, setting, _ := strings.Cut(strings.TrimPrefix(name, licensePrefix), "_")
	// Compare it with its text: 01 and +1 are numbers too, and would be a second license 1.
	n, err = strconv.Atoi(number)
	if err != nil || strconv.Itoa(n) != number || n < 0 {
		return 0, "", fmt.Errorf("%q is not a license number; write 0, 1, 2, … without leading zeros", number)
	}
	if !slices.Contains(licenseSettings(), setting) {
		return 0, "", errors.New("unknown setting; a license has _" + strings.Join(licenseSettings(), ", _") + ", each also with _FILE")
	}
	return n, setting, nil
}

// licenseSettings returns the names of a license's settings without a prefix: NAME, ACCESS_KEY, ….
func licenseSettings() []string {
	var names []string
	for name := range fieldsOf(reflect.TypeFor[License](), "") {
		names = append(names, name)
	}
	return names
}

// oneNames returns the settings of the single license: INTERWATER_ACCESS_KEY and so on. There is no INTERWATER_NAME, because it
// would look like the name of something else.
func oneNames() []string {
	var names []string
	for _, setting := range licenseSettings()[1:] {
		names = append(names, onePrefix+setting)
	}
	return names
}
