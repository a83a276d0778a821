// Package webhook receives other services' webhooks: it verifies the signature,
// accepts the call durably, and answers 202 before the function runs.
//
//	verify    signature                                   replay window   delivery id
//	standard  webhook-signature, of Standard Webhooks     yes             webhook-id
//	github    X-Hub-Signature-256                         -               X-GitHub-Delivery
//	stripe    Stripe-Signature                            yes             the event's id
//	slack     X-Slack-Signature                           yes             the event's event_id
//	hmac      SHA-256 in `header`, hex or base64          -               Idempotency-Key
//
// A delivery id that was seen in the last day is answered 202 and not run again.
// The secret may hold several values apart by spaces, so that it can be rotated.
// The function gets the request as an HTTP event (payload 2.0).
package webhook
