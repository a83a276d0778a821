package amqp

import (
	"context"
	"fmt"
	"sync"

	"github.com/rabbitmq/amqp091-go"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// consumer accepts what the broker delivers, several calls side by side: each
// waits for the disk, which takes many at once.
type consumer struct {
	binding *trigger.Binding
	link    *trigger.Link
	server  string // its address
	vhost   string
}

// run accepts until the deliveries end, and then returns nil, or ctx does. What
// was not acknowledged by then comes again.
func (c *consumer) run(ctx context.Context, deliveries <-chan amqp091.Delivery) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	size := max(1, c.binding.Trigger.Batch)
	var accepting sync.WaitGroup // prefetch at most: no more deliveries come before one is acknowledged
	defer accepting.Wait()
	for {
		select {
		case first, ok := <-deliveries:
			if !ok {
				return nil
			}
			batch := gather(first, deliveries, size)
			accepting.Go(func() {
				if err := c.accept(ctx, batch); err != nil {
					cancel(err)
				}
			})
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// gather is a delivery with those that are there already, size at most.
func gather(first amqp091.Delivery, more <-chan amqp091.Delivery, size int) []amqp091.Delivery {
	batch := []amqp091.Delivery{first}
	for len(batch) < size {
		select {
		case d, ok := <-more:
			if !ok {
				return batch
			}
			batch = append(batch, d)
		default:
			return batch
		}
	}
	return batch
}

// accept accepts a batch in one call, or in several where it is too large for
// one, and acknowledges it.
func (c *consumer) accept(ctx context.Context, batch []amqp091.Delivery) error {
	event, err := c.encode(batch)
	if err != nil {
		return err
	}
	if half := len(batch) / 2; half > 0 && len(event) > int(mayfly.MaxAsync) {
		if err := c.accept(ctx, batch[:half]); err != nil {
			return err
		}
		return c.accept(ctx, batch[half:])
	}
	first := &batch[0]
	parent, _ := first.Headers["traceparent"].(string)
	where := fmt.Sprintf("%s, message %q", c.binding.Trigger.AMQP, first.MessageId)
	kept, err := c.link.Hold(trigger.WithRemote(ctx, parent), len(batch), where, "", event)
	if err != nil {
		return err
	}
	for i := range batch {
		if kept {
			err = batch[i].Ack(false)
		} else {
			err = batch[i].Reject(false)
		}
		if err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
	}
	return nil
}
