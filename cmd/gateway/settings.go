package main

// This file reads the settings and reports everything that is wrong with them at once, also what only those who use them can
// tell.

import (
	"errors"

	"roomgate/internal/bridge"
	"roomgate/internal/config"
)

// loadSettings is config.Load with the rules compiled.
func loadSettings(environ []string) (*config.Config, error) { return config.Load(environ, checkRules) }

// checkRules names the settings of the rules that stop the start.
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
