// Asks the definitions of meshes.
//
// In: `crds OUT FILE...`: resource definitions as YAML; `envoy FILE...`: answers of discovery as YAML.
// Out: each definition as JSON in OUT, as tests/deploy/schemas.rs reads them; what Envoy would refuse, and exit code 1.
// Left out on purpose: a running mesh.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	_ "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) > 2 && args[0] == "crds":
		return each(args[2:], func(text []byte) error { return crds(args[1], text) })
	case len(args) > 1 && args[0] == "envoy":
		return each(args[1:], envoy)
	}
	return fmt.Errorf("usage: mesh crds OUT FILE... | mesh envoy FILE...")
}

func each(files []string, check func([]byte) error) error {
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			err = check(text)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// crds writes every definition of a file as JSON, under its name.
func crds(out string, text []byte) error {
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		object, err := yaml.YAMLToJSON(document)
		if err != nil {
			return err
		}
		var crd struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := json.Unmarshal(object, &crd); err != nil {
			return err
		}
		if crd.Kind != "CustomResourceDefinition" {
			continue
		}
		if err := os.WriteFile(filepath.Join(out, crd.Metadata.Name+".json"), object, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// envoy reads an answer of discovery, refuses unknown fields, and asks each resource for its own rules.
func envoy(text []byte) error {
	object, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	var answer discovery.DiscoveryResponse
	if err := protojson.Unmarshal(object, &answer); err != nil {
		return err
	}
	if len(answer.Resources) == 0 {
		return fmt.Errorf("no resource")
	}
	for _, any := range answer.Resources {
		resource, err := any.UnmarshalNew()
		if err != nil {
			return err
		}
		checked, ok := resource.(interface{ ValidateAll() error })
		if !ok {
			return fmt.Errorf("%s has no rules", any.TypeUrl)
		}
		if err := checked.ValidateAll(); err != nil {
			return err
		}
	}
	return nil
}
