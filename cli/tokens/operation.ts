import { userInfo } from 'node:os'
import { join } from 'node:path'

import { createEntry, hashArguments, type AuditEvent } from '../../shared/audit/audit-entry.ts'
import { AuditLog, auditSpool } from '../../shared/audit/audit-log.ts'
import type { OpenDatabase } from '../../shared/db/database.ts'
import { createSilentLogger } from '../../shared/log/log.ts'
import type { CommandHost } from '../host.ts'
import type { DataLayout } from '../up/data-layout.ts'

const COMPONENT = 'cli'

/**
 * Writes down what was done with the key of the cluster, by whoever is at this machine. While the
 * database is away the row waits in the data folder for the next such command.
 */
export async function recordOperation(
  host: CommandHost,
  layout: DataLayout,
  database: OpenDatabase | null,
  operation: { action: string; resource: string; given: unknown },
): Promise<void> {
  const { action, resource, given } = operation
  const event: Omit<AuditEvent, 'component'> = {
    actor: `local:${host.env['USER'] ?? accountName()}`,
    tokenId: '',
    remote: '',
    action,
    resource,
    outcome: 'allow',
    status: 200,
    requestId: '',
    argumentsHash: hashArguments(given),
  }
  const log = createSilentLogger()
  const spoolDir = join(layout.logs, 'audit')
  if (!database) {
    const spool = auditSpool({ log }, { dir: spoolDir, component: COMPONENT })
    return spool.add([createEntry({ ...event, component: COMPONENT })])
  }
  const audit = new AuditLog({ db: database.db, log }, { component: COMPONENT, spoolDir })
  await audit.start()
  audit.record(event)
  await audit.stop()
}

/** A container may run under a number that has no name. */
function accountName(): string {
  try {
    return userInfo().username
  } catch {
    return 'unknown'
  }
}
