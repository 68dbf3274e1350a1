package main

// docs/security.md names a test for each claim. This one looks that they are all there.

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestSecurityPageNamesTestsThatExist(t *testing.T) {
	const root = "../.."
	page, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	claims := regexp.MustCompile("`([a-z]+)/([a-z0-9_]+_test\\.go)` ((?:Test|Fuzz)\\w+(?:, (?:Test|Fuzz)\\w+)*)").FindAllStringSubmatch(string(page), -1)
	if len(claims) < 50 {
		t.Errorf("%d claims found: has the way they are written changed?", len(claims))
	}
	for _, claim := range claims {
		folder := filepath.Join("internal", claim[1])
		if claim[1] == "gateway" {
			folder = "cmd/gateway"
		}
		source, err := os.ReadFile(filepath.Join(root, folder, claim[2]))
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
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(string(page), -1)
	found := 0
	for _, claim := range claims {
		found += strings.Count(claim[3], ",") + 1
	}
	if len(named) != found {
		t.Errorf("%d tests are named, %d of them with their file", len(named), found)
	}
}
