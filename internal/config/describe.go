package config

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
	Name     string // "<n>" stands for a license's number: 0, 1, …
	Default  string // value of an absent variable; "": none
	Required bool   // must be set; for a license's setting, if the license is
	Doc      string // meaning and bounds, one line of plain text

	empty string // what an empty variable means, if not the same as an absent one
}

// Settings returns all variables in the order of docs/settings.md. It leaves out the NAME_FILE ones, which nearly all have, and
// the OTEL_ ones, which belong to other packages.
func Settings() []Setting {
	var list []Setting
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if f.Type != reflect.TypeFor[[]License]() {
			if name := envName(f); name != "" {
				list = append(list, settingOf(name, f))
			}
			continue
		}
		// The licenses take the place of their field, in both forms: one struct, two sets of names.
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

// settingOf describes one field. It adds the allowed values and bounds to the text, so that they can't differ.
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

// Summary returns every setting with its value, defaults included, for the log at the start. A secret is "set" or "not set".
// REDIS_URL appears without user, password and query. Licenses have the names of the variables that were used, with or without a
// number.
func (c *Config) Summary() []slog.Attr {
	var attrs []slog.Attr
	// Uses the same tags as reading, so that no setting can be forgotten here.
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
	// Redis' address helps whoever reads the log. The query may contain the password of the servers behind a sentinel.
	for i, a := range attrs {
		if u, err := url.Parse(c.RedisURL.Reveal()); err == nil && a.Key == "REDIS_URL" {
			u.User, u.RawQuery = nil, ""
			attrs[i].Value = slog.StringValue(u.String())
		}
	}
	return attrs
}

// show returns a setting's value as text, close to how it would be set.
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
	// Lists with commas, as they are set. Elements print themselves.
	if v := reflect.ValueOf(value); v.Kind() == reflect.Slice {
		elements := make([]string, v.Len())
		for i := range elements {
			elements[i] = fmt.Sprint(v.Index(i).Interface())
		}
		return strings.Join(elements, ",")
	}
	return fmt.Sprint(value)
}
