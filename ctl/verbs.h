/*
 * verbs: the subcommands, one file a noun. Each returns an exit status and has said what went wrong.
 *
 *     { "domain", "list", "", 0, 0, CTL_JSON, "lists the domains", NULL, domain_list },
 */
#ifndef CTL_VERBS_H
#define CTL_VERBS_H

struct ctl;

int domain_add(struct ctl *ctl);
int domain_list(struct ctl *ctl);
int domain_show(struct ctl *ctl);
int domain_remove(struct ctl *ctl);

int account_add(struct ctl *ctl);
int account_expect(struct ctl *ctl);
int account_list(struct ctl *ctl);
int account_show(struct ctl *ctl);
int account_passwd(struct ctl *ctl);
int account_plan(struct ctl *ctl);
int account_enable(struct ctl *ctl);
int account_disable(struct ctl *ctl);
int account_remove(struct ctl *ctl);

int alias_add(struct ctl *ctl);
int alias_list(struct ctl *ctl);
int alias_remove(struct ctl *ctl);

int plan_list(struct ctl *ctl);
int plan_set(struct ctl *ctl);
int plan_remove(struct ctl *ctl);

int pref_items(struct ctl *ctl);
int pref_list(struct ctl *ctl);
int pref_show(struct ctl *ctl);
int pref_set(struct ctl *ctl);
int pref_unset(struct ctl *ctl);

int dmarc_list(struct ctl *ctl);
int dmarc_report(struct ctl *ctl);

int key_show(struct ctl *ctl);
int key_add_app_password(struct ctl *ctl);
int key_add_recovery(struct ctl *ctl);
int key_add_member(struct ctl *ctl);
int key_add_escrow(struct ctl *ctl);
int key_remove(struct ctl *ctl);
int key_rotate(struct ctl *ctl);
int key_reset(struct ctl *ctl);
int key_heal(struct ctl *ctl);
int key_restore(struct ctl *ctl);
int key_reseal(struct ctl *ctl);
int key_drop(struct ctl *ctl);
int key_notify(struct ctl *ctl);
int convert_run(struct ctl *ctl);
int convert_status(struct ctl *ctl);
int convert_undo(struct ctl *ctl);
int session_list(struct ctl *ctl);
int session_end(struct ctl *ctl);
int escrow_key_new(struct ctl *ctl);
int doctor_run(struct ctl *ctl);
int probe_run(struct ctl *ctl);
int panel_passwd(struct ctl *ctl);

int verdict_key_new(struct ctl *ctl);
int verdict_key_rotate(struct ctl *ctl);
int verdict_key_list(struct ctl *ctl);

int trace_key_new(struct ctl *ctl);

int message_inspect(struct ctl *ctl);
int history_show(struct ctl *ctl);
int explain_run(struct ctl *ctl);
int scrub_run(struct ctl *ctl);
int status_show(struct ctl *ctl);
int db_migrate(struct ctl *ctl);

#endif
