package main

// docs/security.md names a test for each claim and each row of the catalogue of attacks. These tests check that they exist.

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
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
		t.Errorf("only %d claims found: has their form changed?", len(claims))
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
	// Every test's name must be part of a claim. A claim in another form would not be checked.
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(page, -1)
	found := 0
	for _, claim := range claims {
		found += strings.Count(claim[3], ",") + 1
	}
	if len(named) != found {
		t.Errorf("%d tests are named, %d of them with their file", len(named), found)
	}
}

func TestSecurityPageHasEveryRowThatIsPlayed(t *testing.T) {
	listed := map[string]bool{}
	for line := range strings.Lines(securityPage(t)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, ids := range regexp.MustCompile(`([A-Z])(\d\d)(?:–[A-Z](\d\d))?`).FindAllStringSubmatch(cells[1], -1) {
			first, _ := strconv.Atoi(ids[2])
			last, err := strconv.Atoi(ids[3])
			if err != nil { // not a range
				last = first
			}
			for n := first; n <= last; n++ {
				listed[fmt.Sprintf("%s%02d", ids[1], n)] = true
			}
		}
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	played := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, rows := range regexp.MustCompile(`"([A-Z]\d\d(?: [A-Z]\d\d)*)"`).FindAllStringSubmatch(string(source), -1) {
			for row := range strings.FieldsSeq(rows[1]) {
				if played++; !listed[row] {
					t.Errorf("docs/security.md has no row %s, which %s plays", row, file)
				}
			}
		}
	}
	if played < 100 {
		t.Errorf("only %d attacks found: has their form changed?", played)
	}
}
