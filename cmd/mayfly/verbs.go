package main

import "github.com/spf13/cobra"

// group is verbs that help shows together.
type group struct {
	id, title string
	verbs     []*cobra.Command
}

// verbs is every verb, as help shows them.
func verbs(g *globals) []group {
	return []group{
		{"start", "Start:", []*cobra.Command{newNewCmd(g), newDevCmd(g), newServeCmd(g), newConsoleCmd(g), newDoctorCmd(g), newSchemaCmd(g)}},
		{"deliver", "Deliver:", []*cobra.Command{newPlanCmd(g), newDeployCmd(g), newDeploysCmd(g), newVersionsCmd(g), newPromoteCmd(g), newRollbackCmd(g)}},
		{"call", "Call:", []*cobra.Command{newInvokeCmd(g), newReplayCmd(g), newEventCmd(g), newBenchCmd(g)}},
		{"watch", "Watch:", []*cobra.Command{newLogsCmd(g), newTraceCmd(g), newTopCmd(g), newMetricsCmd(g), newAlertCmd(g), newAuditCmd(g), newCostCmd(g), newSimulateCmd(g)}},
		{"data", "Events and data:", []*cobra.Command{
			newQueueCmd(g), newTopicCmd(g), newScheduleCmd(g), newBucketCmd(g), newKVCmd(g), newSQLCmd(g), newSecretCmd(g),
			newBackupCmd(g), newRestoreCmd(g),
		}},
	}
}
