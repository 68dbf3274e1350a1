package config

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

// Check finds problems that only another package can find, such as an invalid rule, and reports them with the variable's name.
// Fields of c that couldn't be read are zero. A second problem of the same variable is dropped.
type Check func(c *Config, report func(name string, err error))

// Load reads the settings from environ, a list of NAME=value like that of os.Environ, and from the files that its variables name.
// It reads nothing else and connects to nothing. It ignores variables that are not settings.
//
// If anything is wrong, Load returns a *Problems with everything that is, and a nil Config. All checks run in any case. Calling
// Load again with the same environ reads the files again.
func Load(environ []string, checks ...Check) (*Config, error) {
	var p Problems
	src := readSources(environ, &p)

	// Everything is parsed and checked even after a problem. p remembers which settings to skip.
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

// parseStruct sets the fields of the struct that v points to from vars, by prefix and env tag. It also makes the checks that the
// tags demand.
func parseStruct(v any, prefix string, vars map[string]string, p *Problems) {
	t := reflect.TypeOf(v).Elem()
	checkChoices(t, prefix, vars, p)

	// Environment must not be nil: the parser would use the process's environment.
	err := env.ParseWithOptions(v, env.Options{Environment: vars, Prefix: prefix, FuncMap: parsers()})
	translate(err, t, prefix, p)
	checkFields(v, prefix, vars, p)
}

// checkFields makes the checks that the tags demand, other than oneof.
func checkFields(v any, prefix string, vars map[string]string, p *Problems) {
	t := reflect.TypeOf(v).Elem()
	for name, f := range fieldsOf(t, prefix) {
		field := reflect.ValueOf(v).Elem().FieldByIndex(f.Index)
		if value, ok := vars[name]; ok && value == "" && f.Tag.Get("empty") != "" {
			field.SetString("") // the parser has set the default, as if the variable were absent
		}
		if p.has(name) {
			continue // the field's value isn't the operator's
		}
		checkRange(name, f.Tag, field, vars[name], p)
		if s, ok := field.Interface().(secret.Value); ok && strings.TrimSpace(s.Reveal()) != s.Reveal() {
			p.addf(name, "begins or ends with white space, which would be part of the value; remove it")
		}
	}
}

// checkChoices refuses values that a field's oneof tag doesn't list. It checks the text, not the parsed value, so that only the
// words in the table are accepted: "INFO+2" parses as a log level. It deletes a wrong value from vars, so that it is reported
// only once.
func checkChoices(t reflect.Type, prefix string, vars map[string]string, p *Problems) {
	for name, f := range fieldsOf(t, prefix) {
		choices := f.Tag.Get("oneof")
		if choices == "" || vars[name] == "" {
			continue
		}
		// In a list each element counts, without spaces around it. The parser reports empty ones.
		values := []string{vars[name]}
		if f.Type.Kind() == reflect.Slice {
			values = strings.Split(vars[name], ",")
		}
		for _, value := range values {
			if f.Type.Kind() == reflect.Slice {
				value = strings.TrimSpace(value)
			}
			if !slices.Contains(strings.Split(choices, ","), value) {
				p.addf(name, "%q is not one of %s", value, strings.ReplaceAll(choices, ",", ", "))
				delete(vars, name)
			}
		}
	}
}

// checkRange refuses values outside of the min and max tags. The upper bounds are generous: they catch a forgotten unit or a
// digit too many. value is the text that the field was parsed from.
func checkRange(name string, tag reflect.StructTag, field reflect.Value, value string, p *Problems) {
	low, high := tag.Get("min"), tag.Get("max")
	if low == "" {
		return
	}
	// To reflect, durations and numbers are both integers. Only the text of the bounds differs.
	bound := func(s string) int64 {
		if field.Type() == reflect.TypeFor[time.Duration]() {
			d, _ := time.ParseDuration(s) // can't fail: a test parses every tag
			return int64(d)
		}
		n, _ := strconv.ParseInt(s, 10, 64)
		return n
	}
	if n := field.Int(); n < bound(low) || n > bound(high) {
		p.addf(name, "%q is out of range; give %s to %s", value, low, high)
	}
}

// translate turns the parser's error, which names fields and types of Go, into problems that name variables. Errors of our own
// parsers are kept.
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

// fieldsOf iterates over the settings of a struct in the order of its fields: the name with prefix, and the field. It skips
// fields without a name in an env tag.
func fieldsOf(t reflect.Type, prefix string) iter.Seq2[string, reflect.StructField] {
	return func(yield func(string, reflect.StructField) bool) {
		for _, f := range reflect.VisibleFields(t) {
			if name := envName(f); name != "" && !yield(prefix+name, f) {
				return
			}
		}
	}
}

// envName returns the name in a field's env tag, or "" if the field is no setting.
func envName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("env"), ",")
	if name == "-" {
		return ""
	}
	return name
}

// AdminAddr reads only ADMIN_ADDR, as Load does, for a health check that needs nothing else. "" means off. The error is a
// *Problems.
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
