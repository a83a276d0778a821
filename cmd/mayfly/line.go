package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// logLine is a line of a function for people.
func logLine(l mayfly.LogLine) string {
	level := ""
	if l.Level != "" && l.Level != "info" {
		level = strings.ToUpper(l.Level) + " "
	}
	return fmt.Sprintf("%s %s | %s%s", l.Time.Local().Format("15:04:05.000"), l.Function, level, strings.TrimRight(l.Text, "\n"))
}

func sortedNames(m *mayfly.Manifest) []mayfly.FunctionName {
	return slices.Sorted(maps.Keys(m.Functions))
}
