package event

// SetRewrite makes logs of more than n bytes be rewritten.
func (s *Store) SetRewrite(n int) {
	for _, shard := range s.shards {
		shard.mu.Lock()
		shard.rewrite = n
		shard.mu.Unlock()
	}
}
