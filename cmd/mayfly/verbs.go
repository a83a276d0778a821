package main

import "github.com/spf13/cobra"

// verbs is every verb, in the order that help shows them.
func verbs(g *globals) []*cobra.Command {
	return []*cobra.Command{
		newNewCmd(g), newDevCmd(g), newServeCmd(g), newDeployCmd(g), newPlanCmd(g), newInvokeCmd(g), newLogsCmd(g),
		newVersionsCmd(g), newPromoteCmd(g), newRollbackCmd(g), newReplayCmd(g), newBenchCmd(g),
		newQueueCmd(g), newTopicCmd(g), newScheduleCmd(g), newEventCmd(g),
		newBucketCmd(g), newKVCmd(g), newSQLCmd(g), newSecretCmd(g),
		newTraceCmd(g), newTopCmd(g), newMetricsCmd(g), newCostCmd(g), newAlertCmd(g),
		newDoctorCmd(g), newSchemaCmd(g), newSimulateCmd(g),
	}
}
