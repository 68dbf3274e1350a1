package config

import (
	"fmt"
	"slices"
	"strings"
)

// Problems is the error of Load: everything that is wrong with the settings, so that an operator can correct all of it at once.
// Its text has one line for each problem, `NAME: what is wrong; what would be right`, in the order of docs/settings.md. No line
// contains any part of a secret. The zero value has no problems.
type Problems struct {
	list []problem
}

// problem is one line. The name is separate, so that problems can be sorted and found by it.
type problem struct {
	name string // of the variable; "": of none
	err  error
}

// Error returns one line for each problem, without a trailing newline.
func (p *Problems) Error() string {
	lines := make([]string, len(p.list))
	for i, pr := range p.list {
		lines[i] = pr.name + ": " + pr.err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.Is find a cause, such as fs.ErrNotExist.
func (p *Problems) Unwrap() []error {
	errs := make([]error, len(p.list))
	for i, pr := range p.list {
		errs[i] = pr.err
	}
	return errs
}

// add records err for the variable. A joined error is one problem for each of its parts; nil is none.
func (p *Problems) add(name string, err error) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { // not errors.As: a join deeper in the chain is part of one problem
		for _, err := range joined.Unwrap() {
			p.add(name, err)
		}
		return
	}
	p.list = append(p.list, problem{name, err})
}

// addf is add with an error made by fmt.Errorf, so %w keeps a cause. Arguments must not be secrets.
func (p *Problems) addf(name, format string, args ...any) {
	p.add(name, fmt.Errorf(format, args...))
}

// has reports whether the variable has a problem already, as NAME or NAME_FILE. Such a variable isn't checked further: a second
// problem about the same value would only confuse.
func (p *Problems) has(name string) bool {
	return slices.ContainsFunc(p.list, func(pr problem) bool {
		return pr.name == name || pr.name == name+"_FILE"
	})
}

// missing reports that a required setting isn't set, unless its file couldn't be read.
func (p *Problems) missing(name string) {
	if !p.has(name) {
		p.addf(name, "required; set it, or %s_FILE to the path of a file that holds it", name)
	}
}

// hasPrefix reports whether a variable whose name begins with prefix has a problem.
func (p *Problems) hasPrefix(prefix string) bool {
	return slices.ContainsFunc(p.list, func(pr problem) bool { return strings.HasPrefix(pr.name, prefix) })
}

// err returns p in the order of the table, or nil if there are no problems.
func (p *Problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	order := map[string]int{}
	for i, s := range Settings() {
		order[s.Name] = i + 1
	}
	// NAME_FILE has the place of NAME. The table contains the numbered licenses only as <n>. They stay together in the order in
	// which their problems were found, which is by number.
	place := func(name string) int {
		if strings.HasPrefix(name, licensePrefix) {
			return order[licensePrefix+"<n>_NAME"]
		}
		if order[name] == 0 {
			name = strings.TrimSuffix(name, "_FILE")
		}
		return order[name]
	}
	slices.SortStableFunc(p.list, func(a, b problem) int { return place(a.name) - place(b.name) })
	return p
}
