package main

import (
	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly/manifest"
)

func newSchemaCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "The JSON Schema of mayfly.yaml, for editors",
		Long: `The JSON Schema of mayfly.yaml, for editors.

With the YAML extension of most editors, save it and put this line first in mayfly.yaml:
  # yaml-language-server: $schema=./mayfly.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := g.out.Write(manifest.Schema())
			return err
		},
	}
}
