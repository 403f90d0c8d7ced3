/* The resolver's thread: questions in, answers out to the loop. */
#include "loop/resolver.h"

#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct question {
	struct question *next;
	resolver_fn fn;
	void *arg;
	struct resolved resolved;
	unsigned count;
	const char *names[RESOLVER_NAMES_MAX]; /* in text */
	char text[];
};

struct queue {
	struct question *head, **tail;
};

/* Belongs to its thread once that runs: resolver_free only tells it to go. */
struct resolver {
	struct loop *loop;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct queue asked, answered;
	bool running, posted, closing;
};

/* ---- questions ---- */

static void queue_push(struct queue *queue, struct question *question)
{
	question->next = NULL;
	*queue->tail = question;
	queue->tail = &question->next;
}

static struct question *queue_pop(struct queue *queue)
{
	struct question *question = queue->head;
	if (!question)
		return NULL;
	queue->head = question->next;
	if (!queue->head)
		queue->tail = &queue->head;
	return question;
}

static struct question *question_new(const char *const *names, unsigned count)
{
	size_t size = 0;
	for (unsigned i = 0; i < count; i++)
		size += strlen(names[i]) + 1;
	struct question *question = calloc(1, sizeof(*question) + size);
	if (!question)
		return NULL;
	char *at = question->text;
	for (unsigned i = 0; i < count; i++) {
		size_t len = strlen(names[i]) + 1;
		question->names[i] = memcpy(at, names[i], len);
		at += len;
	}
	question->count = count;
	return question;
}

static bool question_look_up(struct question *question, unsigned name)
{
	struct resolved *resolved = &question->resolved;
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
	if (getaddrinfo(question->names[name], NULL, &hints, &list) != 0)
		return false;
	for (struct addrinfo *info = list; info && resolved->count < RESOLVER_ADDRESSES_MAX; info = info->ai_next) {
		struct resolved_address *address = &resolved->found[resolved->count];
		if (getnameinfo(info->ai_addr, info->ai_addrlen, address->text, sizeof(address->text), NULL, 0,
		                NI_NUMERICHOST) != 0)
			continue;
		address->name = name;
		address->v6 = info->ai_family == AF_INET6;
		resolved->count++;
	}
	freeaddrinfo(list);
	return true;
}

/* ---- the thread ---- */

static void resolver_destroy(struct resolver *resolver)
{
	struct question *question;
	while ((question = queue_pop(&resolver->asked)) || (question = queue_pop(&resolver->answered)))
		free(question);
	pthread_cond_destroy(&resolver->wake);
	pthread_mutex_destroy(&resolver->lock);
	free(resolver);
}

/* On the loop's thread. */
static void resolver_deliver(void *arg)
{
	struct resolver *resolver = arg;
	pthread_mutex_lock(&resolver->lock);
	struct question *answered = resolver->answered.head;
	resolver->answered = (struct queue){NULL, &resolver->answered.head};
	resolver->posted = false;
	pthread_mutex_unlock(&resolver->lock);
	while (answered) {
		struct question *question = answered;
		answered = question->next;
		question->fn(question->arg, &question->resolved);
		free(question);
	}
}

static void *resolver_main(void *arg)
{
	struct resolver *resolver = arg;
	pthread_mutex_lock(&resolver->lock);
	while (!resolver->closing) {
		struct question *question = queue_pop(&resolver->asked);
		if (!question) {
			pthread_cond_wait(&resolver->wake, &resolver->lock);
			continue;
		}
		pthread_mutex_unlock(&resolver->lock);
		question->resolved.whole = true;
		for (unsigned i = 0; i < question->count; i++)
			question->resolved.whole = question_look_up(question, i) && question->resolved.whole;
		pthread_mutex_lock(&resolver->lock);
		queue_push(&resolver->answered, question);
		if (!resolver->posted && !resolver->closing) {
			loop_post(resolver->loop, resolver_deliver, resolver);
			resolver->posted = true;
		}
	}
	pthread_mutex_unlock(&resolver->lock);
	resolver_destroy(resolver);
	return NULL;
}

static bool resolver_run(struct resolver *resolver)
{
	pthread_t thread;
	if (resolver->running)
		return true;
	if (pthread_create(&thread, NULL, resolver_main, resolver) != 0)
		return false;
	pthread_detach(thread);
	return resolver->running = true;
}

/* ---- the asker's side ---- */

struct resolver *resolver_new(struct loop *loop)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));
	if (!resolver || pthread_mutex_init(&resolver->lock, NULL) != 0 ||
	    pthread_cond_init(&resolver->wake, NULL) != 0)
		abort();
	resolver->loop = loop;
	resolver->asked.tail = &resolver->asked.head;
	resolver->answered.tail = &resolver->answered.head;
	return resolver;
}

void resolver_free(struct resolver **resolver_ref)
{
	struct resolver *resolver = resolver_ref ? *resolver_ref : NULL;
	if (!resolver)
		return;
	*resolver_ref = NULL;
	pthread_mutex_lock(&resolver->lock);
	bool running = resolver->running;
	resolver->closing = true;
	pthread_cond_signal(&resolver->wake);
	pthread_mutex_unlock(&resolver->lock);
	if (!running)
		resolver_destroy(resolver);
}

bool resolver_ask(struct resolver *resolver, const char *const *names, unsigned count, resolver_fn fn, void *arg)
{
	struct question *question = count <= RESOLVER_NAMES_MAX ? question_new(names, count) : NULL;
	if (!question)
		return false;
	question->fn = fn;
	question->arg = arg;
	pthread_mutex_lock(&resolver->lock);
	bool running = resolver_run(resolver);
	if (running) {
		queue_push(&resolver->asked, question);
		pthread_cond_signal(&resolver->wake);
	}
	pthread_mutex_unlock(&resolver->lock);
	if (!running)
		free(question);
	return running;
}
