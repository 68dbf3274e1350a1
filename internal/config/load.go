package config

// This file is the way from the environment to a Config: read, parse, check, and report everything
// that is wrong at once.

import (
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"roomgate/internal/secret"

	"github.com/caarlos0/env/v11"
)

// Check looks for what only another package can judge, such as a rule, and reports it with the variable's name. Of what could not
// be read, c holds nothing; a second problem of one variable is dropped.
type Check func(c *Config, report func(name string, err error))

// Load reads the settings from environ, a list of NAME=value as os.Environ gives it, and from the
// files that its NAME_FILE variables lead to; nothing else is looked at, nothing is connected to.
// Variables that are not settings are ignored.
//
// The error is a *Problems with everything that is wrong, and then the Config is nil. Calling Load
// again with the same environ reads the files anew. checks are asked even if something else is wrong.
func Load(environ []string, checks ...Check) (*Config, error) {
	var p Problems
	src := readSources(environ, &p)

	// Everything is parsed and checked even if something before it was wrong, and p remembers which
	// settings not to look at any more.
	c := &Config{Files: src.files}
	parseStruct(c, "", src.vars, &p)
	c.Licenses = parseLicenses(src, &p)
	c.check(&p)
	for _, check := range checks {
		check(c, func(name string, err error) {
			if !p.has(name) {
				p.add(name, err)
			}
		})
	}

	if err := p.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// parseStruct sets the fields of the struct that v points to from vars, each under prefix and its
// env tag. It also does the checks that the tags ask for.
func parseStruct(v any, prefix string, vars map[string]string, p *Problems) {
	t := reflect.TypeOf(v).Elem()
	checkChoices(t, prefix, vars, p)

	// Environment must not be nil, or the parser would look at the real environment.
	err := env.ParseWithOptions(v, env.Options{Environment: vars, Prefix: prefix, FuncMap: parsers()})
	translate(err, t, prefix, p)
	checkFields(v, prefix, vars, p)
}

// checkFields does the checks that the tags ask for.
func checkFields(v any, prefix string, vars map[string]string, p *Problems) {
	t := reflect.TypeOf(v).Elem()
	for name, f := range fieldsOf(t, prefix) {
		field := reflect.ValueOf(v).Elem().FieldByIndex(f.Index)
		if value, ok := vars[name]; ok && value == "" && f.Tag.Get("empty") != "" {
			field.SetString("") // the parser took it for absent and put the default there
		}
		if p.has(name) {
			continue // the field holds nothing that was asked for
		}
		checkRange(name, f.Tag, field, vars[name], p)
		if s, ok := field.Interface().(secret.Value); ok && strings.TrimSpace(s.Reveal()) != s.Reveal() {
			p.addf(name, "begins or ends with white space, which would be part of the value; remove it")
		}
	}
}

// checkChoices refuses what is not among a field's oneof tag. It looks at the text and not at what
// is parsed from it, so that the words in the table are all there is: a log level of "INFO+2" would
// parse. A wrong value is taken out of vars, so that it is reported once.
func checkChoices(t reflect.Type, prefix string, vars map[string]string, p *Problems) {
	for name, f := range fieldsOf(t, prefix) {
		choices := f.Tag.Get("oneof")
		if choices == "" || vars[name] == "" {
			continue
		}
		// A list is looked at by element, spaces aside; what is empty is for the parser to report.
		values := []string{vars[name]}
		if f.Type.Kind() == reflect.Slice {
			values = strings.Split(vars[name], ",")
		}
		for _, value := range values {
			if f.Type.Kind() == reflect.Slice {
				value = strings.TrimSpace(value)
			}
			if !slices.Contains(strings.Split(choices, ","), value) {
				p.addf(name, "%q is not among %s", value, strings.ReplaceAll(choices, ",", ", "))
				delete(vars, name)
			}
		}
	}
}

// checkRange refuses a field outside its min and max tags. The upper bounds are generous: they are
// there for a unit that was forgotten or a digit too many. value is the text that the field was
// parsed from.
func checkRange(name string, tag reflect.StructTag, field reflect.Value, value string, p *Problems) {
	low, high := tag.Get("min"), tag.Get("max")
	if low == "" {
		return
	}
	// Durations and numbers are both integers to reflect; only the text of the bounds differs.
	bound := func(s string) int64 {
		if field.Type() == reflect.TypeFor[time.Duration]() {
			d, _ := time.ParseDuration(s) // the tests parse every tag
			return int64(d)
		}
		n, _ := strconv.ParseInt(s, 10, 64)
		return n
	}
	if n := field.Int(); n < bound(low) || n > bound(high) {
		p.addf(name, "%q is out of range; give %s to %s", value, low, high)
	}
}

// translate turns the parser's error, which speaks of fields and types of Go, into problems that
// speak of variables. What went wrong inside one of parsers is in the words of that parser already.
func translate(err error, t reflect.Type, prefix string, p *Problems) {
	var all env.AggregateError
	if !errors.As(err, &all) {
		p.add("", err) // nil, or a mistake in the struct tags
		return
	}
	for _, err := range all.Errors {
		if unset, ok := errors.AsType[env.VarIsNotSetError](err); ok {
			p.missing(unset.Key)
		} else if wrong, ok := errors.AsType[env.ParseError](err); ok {
			f, _ := t.FieldByName(wrong.Name)
			p.add(prefix+envName(f), wrong.Err)
		} else {
			p.add("", fmt.Errorf("settings: %w", err)) // a mistake in the struct tags
		}
	}
}

// fieldsOf goes through the settings of a struct in the order of its fields: the name with prefix,
// and the field. Fields without a name in an env tag are passed over.
func fieldsOf(t reflect.Type, prefix string) iter.Seq2[string, reflect.StructField] {
	return func(yield func(string, reflect.StructField) bool) {
		for _, f := range reflect.VisibleFields(t) {
			if name := envName(f); name != "" && !yield(prefix+name, f) {
				return
			}
		}
	}
}

// envName is the name in a field's env tag, "" for a field that is no setting.
func envName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("env"), ",")
	if name == "-" {
		return ""
	}
	return name
}

// AdminAddr reads ADMIN_ADDR alone, as Load does, for a health check that has no use for the rest. "" is off. The error
// is a *Problems.
func AdminAddr(environ []string) (string, error) {
	var p Problems
	own := slices.DeleteFunc(slices.Clone(environ), func(entry string) bool { return !strings.HasPrefix(entry, "ADMIN_ADDR") })
	addr, ok := readSources(own, &p).vars["ADMIN_ADDR"]
	if !ok {
		i := slices.IndexFunc(Settings(), func(s Setting) bool { return s.Name == "ADMIN_ADDR" })
		addr = Settings()[i].Default
	}
	return addr, p.err()
}
