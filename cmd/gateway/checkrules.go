package main

import (
	"errors"

	"roomgate/internal/bridge"
	"roomgate/internal/config"
)

// loadSettings reads the settings and compiles the rules. It reports all mistakes at once.
func loadSettings(environ []string) (*config.Config, error) { return config.Load(environ, checkRules) }

// checkRules reports each invalid rule under the name of its setting.
func checkRules(cfg *config.Config, report func(name string, err error)) {
	all, ok := bridge.CheckRules(licenses(cfg)).(interface{ Unwrap() []error })
	if !ok {
		return
	}
	for _, err := range all.Unwrap() {
		if rule, ok := errors.AsType[*bridge.RuleError](err); ok {
			report(cfg.Licenses[rule.License].Setting(rule.Rule), rule.Err)
		}
	}
}
