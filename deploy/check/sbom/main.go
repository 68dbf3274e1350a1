// Sbom prints the contents of a Go binary as a CycloneDX list: the modules that the Go command has recorded in it, with their
// checksums, and the standard library. The same binary gives the same bytes, so the list has neither a time nor a serial number.
package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func main() {
	version := flag.String("version", "unknown", "version of the program itself")
	flag.Parse()
	if err := run(os.Stdout, flag.Arg(0), *version); err != nil {
		fmt.Fprintf(os.Stderr, "sbom: %v\n", err)
		os.Exit(1)
	}
}

func run(w io.Writer, binary, version string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	bom, err := list(info, version)
	if err != nil {
		return err
	}
	encoder := cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true)
	if err := encoder.EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// list returns the BOM of a binary with this build information.
func list(info *debug.BuildInfo, version string) (*cdx.BOM, error) {
	program := component(cdx.ComponentTypeApplication, info.Main.Path, version)
	properties := []cdx.Property{}
	for _, s := range info.Settings {
		properties = append(properties, cdx.Property{Name: "go:build:" + s.Key, Value: s.Value})
	}
	program.Properties = &properties

	components := []cdx.Component{component(cdx.ComponentTypeLibrary, "std", strings.TrimPrefix(info.GoVersion, "go"))}
	for _, module := range info.Deps {
		if module.Replace != nil {
			return nil, fmt.Errorf("%s is replaced: a release is built of published modules", module.Path)
		}
		c := component(cdx.ComponentTypeLibrary, module.Path, module.Version)
		sum, err := checksum(module.Sum)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", module.Path, err)
		}
		c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sum}}
		components = append(components, c)
	}
	refs := make([]string, 0, len(components))
	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &program}
	bom.Components = &components
	// A binary doesn't record which module needs which, so all are listed as the program's.
	bom.Dependencies = &[]cdx.Dependency{{Ref: program.BOMRef, Dependencies: &refs}}
	return bom, nil
}

func component(kind cdx.ComponentType, path, version string) cdx.Component {
	purl := "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B") // +incompatible
	return cdx.Component{Type: kind, BOMRef: purl, Name: path, Version: version, PackageURL: purl}
}

// checksum turns the h1: sum of go.sum into the hexadecimal form that CycloneDX wants.
func checksum(sum string) (string, error) {
	text, ok := strings.CutPrefix(sum, "h1:")
	raw, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(raw) != 32 {
		return "", errors.New("the binary has no checksum of it")
	}
	return hex.EncodeToString(raw), nil
}
