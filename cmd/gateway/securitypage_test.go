package main

// docs/security.md names a test for each claim. This looks that they are all there.

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// securityPage is docs/security.md.
func securityPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestSecurityPageNamesTestsThatExist(t *testing.T) {
	page := securityPage(t)
	claims := regexp.MustCompile("`([a-z]+)/([a-z0-9_]+_test\\.go)` ((?:Test|Fuzz)\\w+(?:, (?:Test|Fuzz)\\w+)*)").FindAllStringSubmatch(page, -1)
	if len(claims) < 50 {
		t.Errorf("%d claims found: has the way they are written changed?", len(claims))
	}
	for _, claim := range claims {
		folder := filepath.Join("../../internal", claim[1])
		if claim[1] == "gateway" {
			folder = "."
		}
		source, err := os.ReadFile(filepath.Join(folder, claim[2]))
		if err != nil {
			t.Error(err)
			continue
		}
		for name := range strings.SplitSeq(claim[3], ", ") {
			if !strings.Contains(string(source), "\nfunc "+name+"(") {
				t.Errorf("%s/%s has no %s", claim[1], claim[2], name)
			}
		}
	}
	// Every name is part of a claim: one that is written in another way would not be looked for.
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(page, -1)
	found := 0
	for _, claim := range claims {
		found += strings.Count(claim[3], ",") + 1
	}
	if len(named) != found {
		t.Errorf("%d tests are named, %d of them with their file", len(named), found)
	}
}
