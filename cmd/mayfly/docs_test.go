package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var rewriteDocs = flag.Bool("rewrite-docs", false, "write the commands into docs/events.md")

// commandTable matches its marker and the table below.
var commandTable = regexp.MustCompile(`(?m)^<!-- commands -->\n+(?:\|.*\n)*\n*`)

// TestDocsNameEveryCommand keeps the list of commands in docs/events.md that of
// the program.
func TestDocsNameEveryCommand(t *testing.T) {
	const file = "../../docs/events.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	g := &globals{}
	for _, cmd := range []*cobra.Command{newQueueCmd(g), newTopicCmd(g), newScheduleCmd(g), newEventCmd(g), newInvokeCmd(g), newReplayCmd(g)} {
		for _, sub := range leaves(cmd) {
			use := strings.TrimSuffix(sub.UseLine(), " [flags]")
			rows = append(rows, fmt.Sprintf("| `mayfly %s` | %s |\n", strings.ReplaceAll(use, "|", "\\|"), strings.ReplaceAll(sub.Short, "|", "\\|")))
		}
	}
	if !commandTable.Match(text) {
		t.Fatal("docs/events.md has no line <!-- commands -->")
	}
	want := commandTable.ReplaceAllLiteral(text, []byte("<!-- commands -->\n\n| command | |\n|---|---|\n"+strings.Join(rows, "")+"\n"))
	if *rewriteDocs {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(text, want) {
		t.Error("docs/events.md lists other commands than the program has; run: go test ./cmd/mayfly -run TestDocs -rewrite-docs")
	}
}

// leaves are the commands below cmd that do something themselves, and cmd where
// there are none.
func leaves(cmd *cobra.Command) []*cobra.Command {
	if !cmd.HasSubCommands() {
		return []*cobra.Command{cmd}
	}
	var out []*cobra.Command
	for _, sub := range cmd.Commands() {
		if sub.Runnable() && sub.HasSubCommands() {
			out = append(out, sub)
		}
		out = append(out, leaves(sub)...)
	}
	return out
}
