package config

// What settings there are, for docs/settings.md, and what they are set to, for the log of the start.

import (
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"strings"

	"roomgate/internal/secret"
)

//go:generate go test . -run ^TestSettingsPage$ -update

// Setting describes one variable.
type Setting struct {
	Name     string // "<n>" in it stands for the number of a license: 0, 1, …
	Default  string // what counts when it is absent; "" is nothing
	Required bool   // it has to be set; for a license's, if the license is
	Doc      string // meaning and bounds, one line of plain text

	empty string // what empty means, where that is not the same as absent
}

// Settings lists all variables in the order of docs/settings.md, without the NAME_FILE ones,
// which each has, and the OTEL_ ones, which are not this package's.
func Settings() []Setting {
	var list []Setting
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if f.Type != reflect.TypeFor[[]License]() {
			if name := envName(f); name != "" {
				list = append(list, settingOf(name, f))
			}
			continue
		}
		// The licenses stand where the field is, in both forms: one struct, two sets of names.
		for name, f := range fieldsOf(reflect.TypeFor[License](), onePrefix) {
			if name != onePrefix+"NAME" {
				s := settingOf(name, f)
				s.Doc = "the one license: " + s.Doc
				list = append(list, s)
			}
		}
		for name, f := range fieldsOf(reflect.TypeFor[License](), licensePrefix+"<n>_") {
			s := settingOf(name, f)
			s.Doc = "license n: " + s.Doc
			list = append(list, s)
		}
	}
	return list
}

// settingOf makes the line of one field. What is admitted is added to its text, so that nobody has
// to keep both in step.
func settingOf(name string, f reflect.StructField) Setting {
	doc := f.Tag.Get("doc")
	if choices := f.Tag.Get("oneof"); choices != "" {
		doc += ": " + strings.ReplaceAll(choices, ",", ", ")
	}
	if low := f.Tag.Get("min"); low != "" {
		doc += " (" + low + " to " + f.Tag.Get("max") + ")"
	}
	return Setting{
		Name:     name,
		Default:  f.Tag.Get("envDefault"),
		Required: strings.HasSuffix(f.Tag.Get("env"), ",required"),
		Doc:      doc,
		empty:    f.Tag.Get("empty"),
	}
}

// Summary is every setting once with its value, defaults included, for the log of the start. A
// secret is "set" or "not set", REDIS_URL has lost its user, password and query. Licenses are named
// as the operator named them, by number or not.
func (c *Config) Summary() []slog.Attr {
	var attrs []slog.Attr
	// The same walk through the tags as for reading, so a setting can't be forgotten here.
	add := func(v any, prefix string) {
		for name, f := range fieldsOf(reflect.TypeOf(v), prefix) {
			if name != onePrefix+"NAME" { // the one license has no such setting
				attrs = append(attrs, slog.String(name, show(reflect.ValueOf(v).FieldByIndex(f.Index).Interface())))
			}
		}
	}
	add(*c, "")
	for _, l := range c.Licenses {
		add(l, l.prefix)
	}
	// Where Redis is helps whoever reads the log, so it is worth taking the URL apart. A query may
	// hold the password of the nodes behind a sentinel.
	for i, a := range attrs {
		if u, err := url.Parse(c.RedisURL.Reveal()); err == nil && a.Key == "REDIS_URL" {
			u.User, u.RawQuery = nil, ""
			attrs[i].Value = slog.StringValue(u.String())
		}
	}
	return attrs
}

// show is a setting's value as text, close to how it would be set.
func show(value any) string {
	switch v := value.(type) {
	case secret.Value:
		if v.IsZero() {
			return "not set"
		}
		return "set"
	case []secret.Value:
		// The number shows whether a rotation is under way.
		if len(v) == 0 {
			return "not set"
		}
		return fmt.Sprintf("set (%d)", len(v))
	case slog.Level:
		return strings.ToLower(v.String())
	}
	// Lists as they are set, with commas. Elements print themselves.
	if v := reflect.ValueOf(value); v.Kind() == reflect.Slice {
		elements := make([]string, v.Len())
		for i := range elements {
			elements[i] = fmt.Sprint(v.Index(i).Interface())
		}
		return strings.Join(elements, ",")
	}
	return fmt.Sprint(value)
}
